import path from 'node:path';
import { isWithin, type Mount } from '../system/mountinfo.js';

/** Where a path lies in the filesystem that `mount` shows it of. */
export function placeInFilesystem(mount: Mount, realPath: string): string {
  return path.join(mount.root, path.relative(mount.mountpoint, realPath));
}

/** The innermost directory that holds both. */
function commonDirectory(one: string, other: string): string {
  let directory = one;
  while (!isWithin(other, directory)) directory = path.dirname(directory);
  return directory;
}

/**
 * One mount that stands for several of one filesystem: what it shows holds what each of them shows, so that one
 * exposure of a snapshot serves all. Its mountpoint is that of one of them, of one that shows all of it where there is
 * such a one. `mounts` is not empty. Pure.
 */
export function sharedMount(mounts: readonly [Mount, ...Mount[]]): Mount {
  const root = mounts.map((mount) => mount.root).reduce(commonDirectory);
  const whole = mounts.find((mount) => mount.root === root);
  return whole ?? { ...mounts[0], root };
}
