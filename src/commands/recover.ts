import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';

export default class Recover extends BaseCommand {
  static override summary = 'Release what dead runs left: freezes, mounts, snapshots, incomplete backups.';
  static override description =
    'Touches only what the journal proves that fsbackup made, and nothing of a run that lives. Every run does this first; do it by hand when no run is due.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Recover);
    const { recoverHost } = await import('../run/host.js');
    const { recoverExitCode } = await import('../journal/recover-report.js');
    const { renderRecover } = await import('../journal/render-recover.js');
    const report = await recoverHost();
    if (flags.json) this.printJson(report);
    else this.print(renderRecover(report));
    const code = recoverExitCode(report);
    if (code !== 0) this.exit(code);
  }
}
