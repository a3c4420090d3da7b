import { BaseCommand } from '../../base-command.js';
import { FsbackupError } from '../../errors.js';
import { exitCode } from '../../exit-codes.js';
import { configFlag, jsonFlag } from '../../flags.js';

export default class ScheduleStatus extends BaseCommand {
  static override summary = 'Show which jobs systemd runs, when next, and how the last run ended.';
  static override description =
    'Exits 3 when the last run of a job failed, when a timer runs a job that the configuration does not have any more, and when the units run what is not there any more or are of another version of fsbackup.';
  static override examples = ['<%= config.bin %> <%= command.id %> --json'];
  static override flags = { config: configFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(ScheduleStatus);
    const { configFile } = await import('../../config/read-files.js');
    const { failedJobs, scheduleStatus } = await import('../../schedule/schedule-status.js');
    const { installFacts, scheduleHost } = await import('../../schedule/schedule-host.js');
    const { renderScheduleStatus } = await import('../../schedule/render-schedule.js');
    const { describeStray } = await import('../../schedule/strays.js');
    const { findOutdated, renewal } = await import('../../schedule/outdated.js');
    const host = scheduleHost();
    const status = await scheduleStatus(host);
    const isAny = status.schedules.length > 0;
    const strays = !isAny ? [] : await this.#strays(flags.config);
    const outdated = isAny ? await findOutdated(await installFacts(flags.config), host.units) : [];
    if (flags.json) this.printJson({ ...status, strays, outdated });
    else this.print(renderScheduleStatus(status, configFile(flags.config, process.env)));
    if (!flags.json) for (const stray of strays ?? []) this.printWarning(describeStray(stray));
    if (!flags.json)
      for (const complaint of outdated) this.printWarning(`${complaint}; renew it with \`${renewal()}\``);
    if ([strays ?? [], outdated, failedJobs(status)].some(({ length }) => length > 0))
      this.exit(exitCode('warnings'));
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
