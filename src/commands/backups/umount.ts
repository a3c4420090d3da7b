import path from 'node:path';
import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { jsonFlag } from '../../flags.js';

export default class BackupsUmount extends BaseCommand {
  static override summary = 'Unmount a backup that `backups mount` mounted.';
  static override description =
    'Touches no other mount. Exits 60 when something uses it. A directory that was made for it is removed.';
  static override examples = ['<%= config.bin %> <%= command.id %> /mnt'];
  static override args = {
    directory: Args.string({ description: 'Where the backup is mounted.', required: true }),
  };
  static override flags = { json: jsonFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(BackupsUmount);
    const { unmountBackup } = await import('../../copy/mount/mount-backup.js');
    const { mountedBackup, renderUnmounted } = await import('../../copy/mount/render-mounts.js');
    const unmounted = await unmountBackup(path.resolve(args.directory));
    const { record, wasMounted } = unmounted;
    if (flags.json) this.printJson({ version: 1, ...mountedBackup(record), wasMounted });
    else this.print(renderUnmounted(unmounted));
  }
}
