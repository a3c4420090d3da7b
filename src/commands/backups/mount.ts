import path from 'node:path';
import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { backupDescription, configFlag, fromFlags, fromTarget, fromUsage, jsonFlag } from '../../flags.js';

export default class BackupsMount extends BaseCommand {
  static override summary = 'Show a backup at a directory, read-only.';
  static override description = `${backupDescription} What is mounted stays until \`backups umount\`; it is listed by \`backups list\` and \`status\`, not removed by prune, and not unmounted by \`recover\`. An engine that shows its backups by a process of its own stays in the foreground. A tar backup cannot be mounted: restore what you need of it.`;
  static override examples = ['<%= config.bin %> <%= command.id %> srv@2026-11-20 /mnt --from /backup'];
  static override usage = `backups mount BACKUP DIRECTORY ${fromUsage} [--json]`;
  static override args = {
    backup: Args.string({ description: 'JOB[@WHICH]', required: true }),
    directory: Args.string({ description: 'An empty directory; made when it is not there.', required: true }),
  };
  static override flags = { ...fromFlags, config: configFlag, json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(BackupsMount);
    const { pickBackup } = await import('../../copy/backup/pick-backup.js');
    const { engineFor } = await import('../../copy/engines.js');
    const { targetOf } = await import('../../backup-target.js');
    const { mountBackup } = await import('../../copy/mount/mount-backup.js');
    const { mountedBackup, renderMounted } = await import('../../copy/mount/render-mounts.js');
    const { withSignals } = await import('../../system/signals.js');
    const { backup } = await pickBackup(args.backup, {
      ...fromTarget(flags),
      configFile: flags.config,
      mayBeBad: true,
      warn: (message) => this.printWarning(message),
    });
    await withSignals(process, (signal) =>
      mountBackup({
        backup,
        engine: engineFor({ ...targetOf(backup), engine: backup.manifest.engine }),
        directory: path.resolve(args.directory),
        signal,
        onMounted: (record) => {
          if (flags.json) this.printJson({ version: 1, ...mountedBackup(record) });
          else this.print(renderMounted(record));
        },
      }),
    );
  }
}
