import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { errnoOf, FsbackupError } from '../errors.js';
import { parseMountinfo, type Mount } from '../system/mountinfo.js';

/** An open directory and the mount that it lies on. */
export interface OpenMount {
  fd: number;
  mount: Mount;
}

/**
 * Opens a directory and finds the mount that the descriptor is on: opened first and asked afterwards, by the mnt_id of
 * its fdinfo, so that nothing can be mounted over it in between. Synchronous: a few system calls on the way to a freeze.
 *
 * Throws `usage` when the path is not a directory that can be opened. The caller closes `fd`.
 */
export function openMount(path: string): OpenMount {
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
  const mountId = Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]);
  const mount = parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8')).find(
    (entry) => entry.mountId === mountId,
  );
  if (mount === undefined) {
    closeSync(fd);
    throw new FsbackupError('notFrozen', `the mount of ${path} cannot be identified`, {
      hint: 'Check that /proc/self/mountinfo shows it; it may have been unmounted just now.',
    });
  }
  return { fd, mount };
}
