import { lstat } from 'node:fs/promises';
import { errnoOf } from '../../errors.js';

/**
 * Whether a name on a target is that of a directory; undefined where there is nothing, nor can be. A symlink is none, wherever it leads:
 * whoever had the disk in hand would have root read, write and remove there. Rejects with the system's error.
 */
export async function isRealDirectory(name: string): Promise<boolean | undefined> {
  try {
    return (await lstat(name)).isDirectory();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
