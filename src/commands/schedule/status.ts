import { BaseCommand } from '../../base-command.js';
import { FsbackupError } from '../../errors.js';
import { exitCode } from '../../exit-codes.js';
import { configFlag, jsonFlag } from '../../flags.js';

export default class ScheduleStatus extends BaseCommand {
  static override summary = 'Show which jobs systemd runs, when next, and how the last run ended.';
  static override description =
    'Exits 3 when a timer runs a job that the configuration does not have any more.';
  static override examples = ['<%= config.bin %> <%= command.id %> --json'];
  static override flags = { config: configFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(ScheduleStatus);
    const { configFile } = await import('../../config/read-files.js');
    const { scheduleStatus } = await import('../../schedule/schedule-status.js');
    const { scheduleHost } = await import('../../schedule/schedule-host.js');
    const { renderScheduleStatus } = await import('../../schedule/render-schedule.js');
    const { describeStray } = await import('../../schedule/strays.js');
    const status = await scheduleStatus(scheduleHost());
    const strays = status.schedules.length === 0 ? [] : await this.#strays(flags.config);
    if (flags.json) this.printJson({ ...status, strays });
    else this.print(renderScheduleStatus(status, configFile(flags.config, process.env)));
    if (!flags.json) for (const stray of strays ?? []) this.printWarning(describeStray(stray));
    if (strays !== null && strays.length > 0) this.exit(exitCode('warnings'));
  }

  /** Null where the configuration cannot be read, of which there is a warning: what is scheduled is shown all the same. */
  async #strays(config: string | undefined): Promise<string[] | null> {
    const { loadConfig } = await import('../../config/load.js');
    const { findStrays } = await import('../../schedule/strays.js');
    const { otherConfiguration, scheduleHost } = await import('../../schedule/schedule-host.js');
    try {
      const { jobs } = await loadConfig({ configFile: config, freezes: [] });
      return await findStrays(jobs, otherConfiguration(config), scheduleHost().units);
    } catch (error) {
      if (!(error instanceof FsbackupError)) throw error;
      this.printWarning(`whether the configuration has these jobs is not known: ${error.message}`);
      return null;
    }
  }
}
