import { BaseCommand } from '../../base-command.js';
import { loadConfig } from '../../config/load.js';
import { ConfigError } from '../../config/problems.js';
import { configFile } from '../../config/read-files.js';
import { configFlag, jsonFlag } from '../../flags.js';
import { toErrorReport } from '../../report/error-report.js';
import { examineCalendar } from '../../system/calendar-event.js';
import { isProgram } from '../../system/find-command.js';

export default class ConfigValidate extends BaseCommand {
  static override summary = 'Check the configuration: every problem with its file, line and column.';
  static override examples = ['<%= config.bin %> <%= command.id %> --config /etc/fsbackup/config.yaml'];
  static override flags = { config: configFlag, json: jsonFlag };

  protected override readonly believesState = false;

  async run(): Promise<void> {
    const { flags } = await this.parse(ConfigValidate);
    const file = configFile(flags.config, process.env);
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const schedules = { examine: examineCalendar, warn };
    const programs = { isProgram, warn };
    try {
      const { jobs } = await loadConfig({ configFile: file, freezes: [], schedules, programs });
      const names = jobs.map((job) => job.name);
      if (flags.json) this.printJson({ version: 1, valid: true, file, jobs: names, problems: [], warnings });
      else {
        for (const warning of warnings) this.printWarning(warning);
        this.printLines(
          `${file} is valid: ${names.length === 0 ? 'no jobs yet' : `jobs ${names.join(', ')}`}`,
        );
      }
    } catch (error) {
      if (!flags.json || !(error instanceof ConfigError)) throw error;
      const report = toErrorReport(error);
      const { problems } = error;
      this.printJson({ version: 1, valid: false, file, jobs: [], problems, warnings, error: report });
      this.exit(error.exitCode);
    }
  }
}
