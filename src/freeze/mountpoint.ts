import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf, FsbackupError } from '../errors.js';
import { mountOfDescriptor } from '../system/descriptor-mount.js';
import type { Mount } from '../system/mountinfo.js';

/** An open directory and the mount that it lies on. */
export interface OpenMount {
  fd: number;
  mount: Mount;
}

/**
 * Opens a directory and finds the mount that the descriptor is on: opened first and asked afterwards, so that nothing
 * can be mounted over it in between. Rejects with `usage` when the path is not a directory that can be opened. The
 * caller closes `fd`.
 */
export async function openMount(path: string): Promise<OpenMount> {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    const why =
      errnoOf(error) === 'ENOENT'
        ? 'does not exist'
        : `cannot be opened as a directory (${errnoOf(error) ?? 'unknown'})`;
    throw new FsbackupError('usage', `${path} ${why}`, {
      hint: 'Name the mountpoint of a mounted filesystem.',
      cause: error,
    });
  }
  const mount = await mountOfDescriptor(fd);
  if (mount === undefined) {
    closeSync(fd);
    throw new FsbackupError('notFrozen', `the mount of ${path} cannot be identified`, {
      hint: 'Check that /proc/self/mountinfo shows it; it may have been unmounted just now.',
    });
  }
  return { fd, mount };
}
