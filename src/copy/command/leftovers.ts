import { readdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { ensurePrivateDirectory } from '../../system/directories.js';
import { isBackupId, isJobName, type BackupRef } from '../backup/backup-layout.js';

type Backup = Pick<BackupRef, 'job' | 'backupId'>;

/**
 * What of backups that were cut short could not be removed from a repository, since nobody answered there: named in the
 * catalogue, to be removed when it can be. A name that begins with a dot is that of no job.
 */
export class Leftovers {
  readonly #directory: string;

  /** `catalogue`: the directory of the repository's catalogue. */
  constructor(catalogue: string) {
    this.#directory = path.join(catalogue, '.leftovers');
  }

  async note({ job, backupId }: Backup): Promise<void> {
    await ensurePrivateDirectory(this.#directory);
    await writeDurably(path.join(this.#directory, `${job}@${backupId}`), '');
  }

  /** Removes what there is by `remove`; what that rejects for stays. */
  async removeAll(remove: (backup: Backup) => Promise<void>): Promise<void> {
    for (const name of await this.#names()) {
      const [job = '', backupId = ''] = name.split('@');
      if (!isJobName(job) || !isBackupId(backupId)) continue;
      try {
        await remove({ job, backupId });
        await unlink(path.join(this.#directory, name));
      } catch {
        // There still: the next run tries it again.
      }
    }
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  }
}
