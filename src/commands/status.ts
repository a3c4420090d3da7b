import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';

export default class Status extends BaseCommand {
  static override summary =
    'Show what fsbackup holds frozen, what it lost, its last runs, what goes on or was left behind, what backups are mounted, and the snapshots it keeps.';
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
    const { readMountedBackups } = await import('../copy/mount/mount-records.js');
    const { mountedBackup, renderMounts } = await import('../copy/mount/render-mounts.js');
    const { readLastRuns } = await import('../run/history.js');
    const { readHeldStatus } = await import('../run/held-status.js');
    const { renderHeld } = await import('../run/render-held.js');
    const { baseStatus } = await import('../run/release-bases.js');
    const { createBaseStore } = await import('../copy/filesystem/base-store.js');
    const { gatherStatus } = await import('../run/gather-status.js');
    const { toErrorReport } = await import('../report/error-report.js');
    const { worstExitCode } = await import('../exit-codes.js');
    const { status, unread, failures } = await gatherStatus({
      freezes: readFreezeStatus,
      held: readHeldStatus,
      runs: readLastRuns,
      bases: async () => Promise.all((await createBaseStore().list()).map(baseStatus)),
      mounts: async () => (await readMountedBackups()).map(mountedBackup),
    });
    const problems = failures.map((error) => toErrorReport(error));
    if (flags.json)
      this.printJson({ version: 1, ...status, ...(problems.length === 0 ? {} : { unread, problems }) });
    else {
      const parts = [
        renderStatus(status, Date.now(), unread),
        renderHeld(status, unread),
        renderMounts(status.mounts, unread),
      ];
      this.print(parts.filter(Boolean).join('\n'));
    }
    for (const { message, hint } of problems) this.printError([message, hint]);
    if (problems.length > 0) this.exit(worstExitCode(problems.map(({ exitCode }) => exitCode)));
  }
}
