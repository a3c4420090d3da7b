import { lstat, mkdir, rmdir } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../errors.js';

/**
 * The directory, on the storage itself, that fsbackup keeps its snapshots in. It lies inside what may be a source of
 * this or another job: a copy leaves every directory of this name out.
 */
export const SNAPSHOT_DIRECTORY_NAME = '.fsbackup-snapshots';

/** Whether `directory` is a directory of this user's that nobody else can enter; one that is not there is not. */
export async function isOwnDirectory(directory: string): Promise<boolean> {
  try {
    const stats = await lstat(directory);
    return stats.isDirectory() && stats.uid === process.geteuid?.() && (stats.mode & 0o077) === 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Makes a directory that only this user can enter, unless it is there. The directory above may belong to someone who
 * made something of that name to have root write elsewhere: anything but a private directory of ours is refused with
 * `snapshotFailed`, as is a filesystem that cannot take it.
 */
export async function ensureOwnDirectory(directory: string): Promise<void> {
  // Looked at first: on a frozen filesystem mkdir(2) waits for the thaw also when the directory is there.
  if (await isOwnDirectory(directory)) return;
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    if (code === 'EEXIST' && (await isOwnDirectory(directory))) return;
    throw new FsbackupError(
      'snapshotFailed',
      code === 'EEXIST'
        ? `${directory} is not a private directory of fsbackup's`
        : `The directory for snapshots, ${directory}, cannot be made: ${code}`,
      {
        hint:
          code === 'EEXIST'
            ? `It must be this user's, and closed to all others. See who made it, and remove it if nothing needs it.`
            : 'Make its filesystem writable, and free some room on it.',
        cause: error,
      },
    );
  }
}

/** Removes a private directory of ours when nothing is left in it. Idempotent; everything else is left alone. */
export async function removeIfEmpty(directory: string): Promise<void> {
  if (!(await isOwnDirectory(directory))) return;
  try {
    await rmdir(directory);
  } catch (error) {
    // Another run may have made a snapshot in it, or removed it, in the meantime.
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '')) throw error;
  }
}
