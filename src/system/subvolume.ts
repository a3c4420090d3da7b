import type { BigIntStats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import type { Mount } from './mountinfo.js';

/** BTRFS_FIRST_FREE_OBJECTID: the inode number of the root directory of every subvolume, and of nothing else. */
const SUBVOLUME_ROOT_INODE = 256n;

/** Whether what these are of, on a btrfs, is the root of a subvolume. */
export function isSubvolumeRootInode(stats: BigIntStats): boolean {
  return stats.isDirectory() && stats.ino === SUBVOLUME_ROOT_INODE;
}

/** Whether `directory`, which lies on a btrfs, is the root of a subvolume; a path that is not there is not. */
export async function isSubvolumeRoot(directory: string): Promise<boolean> {
  try {
    return isSubvolumeRootInode(await lstat(directory, { bigint: true }));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** `mount` as it would look if its subdirectory `directory` were what is mounted, and at its own path. */
export function narrowMount(mount: Mount, directory: string): Mount {
  return {
    ...mount,
    mountpoint: directory,
    narrowedFrom: mount.narrowedFrom ?? mount.mountpoint,
    root: path.join(mount.root, path.relative(mount.mountpoint, directory)),
  };
}

/**
 * `mount` narrowed to the innermost subvolume that holds `directory`: itself, unless that subvolume is nested below
 * the mountpoint. `directory` is symlink-free and on `mount`.
 */
export async function enclosingSubvolume(directory: string, mount: Mount): Promise<Mount> {
  let candidate = directory;
  while (candidate !== mount.mountpoint && candidate !== path.dirname(candidate)) {
    if (await isSubvolumeRoot(candidate)) return narrowMount(mount, candidate);
    candidate = path.dirname(candidate);
  }
  return mount;
}
