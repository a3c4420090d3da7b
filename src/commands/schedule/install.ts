import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { exitCode } from '../../exit-codes.js';
import { configFlag, jsonFlag } from '../../flags.js';

export default class ScheduleInstall extends BaseCommand {
  static override summary = 'Have systemd run jobs of the configuration by a timer.';
  static override description =
    'Writes fsbackup@.service, fsbackup@.timer and drop-ins for each job to /etc/systemd/system, and enables and starts the timers. Without jobs: all that have a `schedule` in the configuration. Do it again after a change of the configuration, or of where fsbackup or Node is. Exits 3 when a timer runs a job that the configuration does not have any more. Without systemd it prints the line for cron and exits 1.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> srv --calendar "*-*-* 02:30"',
  ];
  static override strict = false;
  static override args = { job: Args.string({ description: 'Jobs of the configuration.' }) };
  static override flags = {
    calendar: Flags.string({
      summary: 'When: daily, "Mon..Fri 22:00", …, see systemd.time(7). Else what the job says, else daily.',
      helpValue: 'EVENT',
    }),
    config: configFlag,
    json: jsonFlag,
  };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(ScheduleInstall);
    const { loadConfig } = await import('../../config/load.js');
    const { installSchedules, selectSchedules } = await import('../../schedule/schedule-jobs.js');
    const { installFacts, requireTrustedProgram, scheduleHost } =
      await import('../../schedule/schedule-host.js');
    const { renderChange } = await import('../../schedule/render-schedule.js');
    const { jobs } = await loadConfig({ configFile: flags.config });
    const schedules = selectSchedules(jobs, argv.map(String), flags.calendar);
    const facts = await installFacts(flags.config);
    await requireTrustedProgram(facts.program);
    const { describeStray, findStrays } = await import('../../schedule/strays.js');
    const host = scheduleHost();
    const change = await installSchedules(schedules, facts, host);
    const strays = await findStrays(jobs, facts.configFile, host.units);
    if (flags.json) this.printJson({ ...change, strays });
    else this.print(renderChange(change, 'Scheduled'));
    if (!flags.json) for (const stray of strays) this.printWarning(describeStray(stray));
    if (strays.length > 0) this.exit(exitCode('warnings'));
  }
}
