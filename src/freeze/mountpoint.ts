import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf, FsbackupError } from '../errors.js';
import { mountOfDescriptor } from '../system/descriptor-mount.js';
import { readMounts, type Mount } from '../system/mountinfo.js';

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

/**
 * Opens a filesystem by any of its mountpoints: the one that it was frozen by may be gone. Undefined when it is not
 * mounted in this mount namespace. The caller closes the descriptor.
 */
export async function openFilesystem(
  target: Pick<Mount, 'majorMinor' | 'fstype'>,
): Promise<number | undefined> {
  const isTarget = ({ majorMinor, fstype }: Mount): boolean =>
    majorMinor === target.majorMinor && fstype === target.fstype;
  for (const { mountpoint } of (await readMounts()).filter(isTarget)) {
    // A file may be bound there, or another filesystem mounted over it.
    const opened = await openMount(mountpoint).catch(() => undefined);
    if (opened === undefined) continue;
    if (isTarget(opened.mount)) return opened.fd;
    closeSync(opened.fd);
  }
  return undefined;
}
