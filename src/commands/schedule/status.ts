import { BaseCommand } from '../../base-command.js';
import { jsonFlag } from '../../flags.js';

export default class ScheduleStatus extends BaseCommand {
  static override summary = 'Show which jobs systemd runs, when next, and how the last run ended.';
  static override examples = ['<%= config.bin %> <%= command.id %> --json'];
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(ScheduleStatus);
    const { scheduleStatus } = await import('../../schedule/schedule-status.js');
    const { scheduleHost } = await import('../../schedule/schedule-host.js');
    const { renderScheduleStatus } = await import('../../schedule/render-schedule.js');
    const status = await scheduleStatus(scheduleHost());
    if (flags.json) this.printJson(status);
    else this.print(renderScheduleStatus(status));
  }
}
