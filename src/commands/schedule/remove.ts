import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { jsonFlag } from '../../flags.js';

export default class ScheduleRemove extends BaseCommand {
  static override summary = 'Have systemd run jobs no more.';
  static override description =
    'Stops and disables their timers and removes what `schedule install` wrote; drop-ins of your own stay. A run that goes on is left alone. The jobs need not be in the configuration any more.';
  static override examples = ['<%= config.bin %> <%= command.id %> srv'];
  static override strict = false;
  static override args = { job: Args.string({ required: true, description: 'Jobs that are scheduled.' }) };
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(ScheduleRemove);
    const { removeSchedules } = await import('../../schedule/schedule-jobs.js');
    const { scheduleHost } = await import('../../schedule/schedule-host.js');
    const { renderChange } = await import('../../schedule/render-schedule.js');
    const change = await removeSchedules(argv.map(String), scheduleHost());
    if (flags.json) this.printJson(change);
    else this.print(renderChange(change, 'Removed'));
  }
}
