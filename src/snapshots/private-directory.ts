import { lstat, mkdir, rmdir } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../errors.js';

/**
 * The directory, on the storage itself, that fsbackup keeps its snapshots in. It lies inside what may be a source of
 * this or another job: a copy leaves every directory of this name out.
 */
export const SNAPSHOT_DIRECTORY_NAME = '.fsbackup-snapshots';

/**
 * Makes a directory that only this user can enter, unless it is there. The directory above may belong to someone who
 * made something of that name to have root write elsewhere: anything but a private directory of ours is refused with
 * `snapshotFailed`.
 */
export async function ensureOwnDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 });
    return;
  } catch (error) {
    if (errnoOf(error) === 'EROFS' || errnoOf(error) === 'ENOSPC') {
      throw new FsbackupError(
        'snapshotFailed',
        `The directory for snapshots, ${directory}, cannot be made: ${errnoOf(error) === 'EROFS' ? 'the filesystem is read-only' : 'no space left'}`,
        { hint: 'Make the filesystem writable and free some room on it.', cause: error },
      );
    }
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  const stats = await lstat(directory);
  if (stats.isDirectory() && stats.uid === process.geteuid?.() && (stats.mode & 0o077) === 0) return;
  throw new FsbackupError(
    'snapshotFailed',
    `${directory} is not a private directory of fsbackup's: it must be a directory of this user's, closed to all others`,
    { hint: `See who made it. If nothing in it is needed: rm -r ${directory}` },
  );
}

/** Removes the directory when nothing is left in it. Idempotent; one in use, or not there, is no error. */
export async function removeIfEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    const expected = ['ENOENT', 'ENOTEMPTY', 'EEXIST'];
    if (!expected.includes(errnoOf(error) ?? '')) throw error;
  }
}
