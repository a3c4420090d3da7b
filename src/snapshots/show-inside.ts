import { errnoOf, FsbackupError } from '../errors.js';
import { bindReadOnly } from '../system/mount.js';
import { withPinnedDirectory, type PinnedDirectory } from '../system/pinned-directory.js';

/**
 * Shows at `directory`, read-only, what a snapshot holds in its directory `inside` (relative; empty: all of it). In the
 * snapshot that may be anything that somebody put in its place before: rejects with `snapshotFailed` when it is not there,
 * is not a directory, or is reached by a symlink, which would lead to the live system.
 */
export async function showInside(
  snapshot: PinnedDirectory,
  inside: string,
  directory: string,
): Promise<void> {
  if (inside === '') return await bindReadOnly(snapshot.path, directory);
  await inSnapshot(snapshot, { inside, called: `/${inside}` }, (tree) => bindReadOnly(tree.path, directory));
}

/** Calls `use` with the directory `inside` of a snapshot, `called` for people, on the terms of `showInside`. */
export async function inSnapshot<T>(
  snapshot: PinnedDirectory,
  { inside, called }: { inside: string; called: string },
  use: (tree: PinnedDirectory) => Promise<T>,
): Promise<T> {
  try {
    return await withPinnedDirectory(inside, use, snapshot);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
    const what = {
      ENOENT: 'is not there',
      ENOTDIR: 'is not a directory',
      ELOOP: 'is reached by a symlink',
    }[code];
    throw new FsbackupError('snapshotFailed', `In the snapshot, ${called} ${what}`, {
      hint: 'It was removed or replaced just before the snapshot was taken. Run the job again; see who may do that.',
      cause: error,
    });
  }
}
