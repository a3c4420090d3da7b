import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';

export default class Status extends BaseCommand {
  static override summary =
    'Show what fsbackup holds frozen, what it lost, its last runs, what backups are mounted, and the snapshots it keeps.';
  static override description =
    'Reads records and asks the watchdogs; never probes a filesystem, which would freeze it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Status);
    const { readFreezeStatus } = await import('../freeze/freeze-status.js');
    const { renderStatus } = await import('../freeze/render-status.js');
    const { readMountedBackups } = await import('../copy/mount-records.js');
    const { mountedBackup, renderMounts } = await import('../copy/render-mounts.js');
    const { readLastRuns } = await import('../run/history.js');
    const { baseStatus } = await import('../run/release-bases.js');
    const { createBaseStore } = await import('../copy/base-store.js');
    const bases = await Promise.all((await createBaseStore().list()).map(baseStatus));
    const status = { version: 1 as const, ...(await readFreezeStatus()), runs: await readLastRuns(), bases };
    const mounts = (await readMountedBackups()).map(mountedBackup);
    if (flags.json) this.printJson({ ...status, mounts });
    else this.print([renderStatus(status, Date.now()), renderMounts(mounts)].filter(Boolean).join('\n'));
  }
}
