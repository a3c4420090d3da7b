import { mkdir, rmdir, stat } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../errors.js';
import { withPinnedDirectory, withPinnedName, type PinnedDirectory } from '../system/pinned-directory.js';

/**
 * The directory, on the storage itself, that fsbackup keeps its snapshots in. It lies inside what may be a source of
 * this or another job: a copy leaves every directory of this name out, where one of ours may be.
 */
export const SNAPSHOT_DIRECTORY_NAME = '.fsbackup-snapshots';

/** Filesystems that have subvolumes to snapshot, or images that can be cloned. */
const HAS_OURS: ReadonlySet<string> = new Set(['btrfs', 'xfs']);

/**
 * What a copy leaves out of a filesystem of this type, as a pattern. Elsewhere a directory of that name is somebody's own, and
 * no user's file is to be missed for what it is called.
 */
export function snapshotExcludes(fstype: string): string[] {
  return HAS_OURS.has(fstype) ? [`${SNAPSHOT_DIRECTORY_NAME}/`] : [];
}

function notOurs(directory: string, cause: unknown): FsbackupError {
  return new FsbackupError('snapshotFailed', `${directory} is not a private directory of fsbackup's`, {
    hint: `It must be this user's, and closed to all others. See who made it, and remove it if nothing needs it.`,
    cause,
  });
}

/**
 * Calls `use` with a private directory of ours, held open: whoever owns the directory above may put another, or a symlink,
 * in its place at any moment. Resolves to undefined where nothing is of that name. Rejects with `snapshotFailed` where what is
 * there is not a directory, is reached by a symlink, is not this user's, or can be entered by others.
 */
export async function inOwnDirectory<T>(
  directory: string,
  use: (own: PinnedDirectory) => Promise<T>,
): Promise<T | undefined> {
  let isOpen = false;
  try {
    return await withPinnedDirectory(directory, async (own) => {
      isOpen = true;
      // Through the descriptor, so of the directory itself.
      const { uid, mode } = await stat(own.path);
      if (uid !== process.geteuid?.() || (mode & 0o077) !== 0) throw notOurs(directory, undefined);
      return await use(own);
    });
  } catch (error) {
    const code = isOpen ? undefined : errnoOf(error);
    if (code === 'ENOENT') return undefined;
    throw code === 'ENOTDIR' || code === 'ELOOP' ? notOurs(directory, error) : error;
  }
}

/** Whether a private directory of ours is there. Rejects as `inOwnDirectory`. */
export async function isOwnDirectory(directory: string): Promise<boolean> {
  return (await inOwnDirectory(directory, () => Promise.resolve(true))) ?? false;
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
    await withPinnedName(directory, (pinned) => mkdir(pinned, { mode: 0o700 }));
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    if (code === 'EEXIST' && (await isOwnDirectory(directory))) return;
    throw new FsbackupError(
      'snapshotFailed',
      `The directory for snapshots, ${directory}, cannot be made: ${code}`,
      { hint: 'Make its filesystem writable, and free some room on it.', cause: error },
    );
  }
}

/** Removes a private directory of ours when nothing is left in it. Idempotent; everything else is left alone. */
export async function removeIfEmpty(directory: string): Promise<void> {
  try {
    if (!(await isOwnDirectory(directory))) return;
    await withPinnedName(directory, rmdir);
  } catch (error) {
    if (error instanceof FsbackupError) return;
    // Another run may have made a snapshot in it, or removed it, in the meantime.
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '')) throw error;
  }
}
