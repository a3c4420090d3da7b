import { readlink } from 'node:fs/promises';
import path from 'node:path';
import { readFstab } from './fstab.js';
import { isWithin, mountOfPath, type Mount } from './mountinfo.js';
import { isWorthBackingUp, visibleMounts } from './submounts.js';

/** Those that wait for a server, or for a program, as soon as a name in them is looked at. */
const MAY_HANG = /^(?:nfs|cifs|smb|fuse|9p|ceph|afs|gfs|glusterfs|lustre|autofs)/;
/** As many as the kernel follows. */
const MAX_LINKS = 40;

/**
 * Where a mountpoint is, symlinks followed; of what is not there, the rest is taken as it is written. No mounted
 * filesystem is looked into that could hang, and none is asked for its own root directory: a dead server that has
 * nothing to do with a backup must not stop it.
 */
async function resolveMountpoint(written: string, mounts: readonly Mount[]): Promise<string> {
  const names = path.normalize(written).split('/');
  let resolved = '/';
  let links = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const next = path.join(resolved, name);
    const mount = mountOfPath(mounts, next);
    const isTouched = name !== '' && mount?.mountpoint !== next && !MAY_HANG.test(mount?.fstype ?? '');
    // It fails for what is no symlink, and for what is not there.
    const target = isTouched ? await readlink(next).catch(() => undefined) : undefined;
    if (target === undefined) {
      resolved = next;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) return path.join(next, ...names);
    names.unshift(...target.split('/'));
    if (path.isAbsolute(target)) resolved = '/';
  }
  return resolved;
}

/** A filesystem of fstab(5) that is not mounted. */
export interface Unmounted {
  /** As fstab names it. */
  written: string;
  /** The same, free of symlinks. */
  mountpoint: string;
}

/** The filesystem of fstab(5), `noauto` ones too, that should be mounted at `directory` or above it, and is not. */
export async function unmountedAbove(
  directory: string,
  mounts: readonly Mount[],
  fstab?: string,
): Promise<Unmounted | undefined> {
  for (const { mountpoint: written } of await readFstab(fstab)) {
    const mountpoint = await resolveMountpoint(written, mounts);
    const isMounted = mounts.some((mount) => mount.mountpoint === mountpoint);
    if (isWithin(directory, mountpoint) && !isMounted) return { written, mountpoint };
  }
  return undefined;
}

/**
 * The mountpoints of fstab(5) below `directory`, free of symlinks, at which no filesystem can be seen: what should be
 * there is in no backup, and nothing else would tell. Left out: `noauto` ones, and those that no backup misses.
 * `directory` is absolute and free of symlinks.
 */
export async function unmountedBelow(
  directory: string,
  mounts: readonly Mount[],
  fstab?: string,
): Promise<string[]> {
  // An automount that nobody has come to shows nothing yet.
  const shown = new Set(
    visibleMounts(mounts)
      .filter(({ fstype }) => fstype !== 'autofs')
      .map(({ mountpoint }) => mountpoint),
  );
  const found = new Set<string>();
  for (const { mountpoint: written, fstype, options } of await readFstab(fstab)) {
    if (options.includes('noauto') || fstype === 'swap' || !isWorthBackingUp(fstype)) continue;
    const mountpoint = await resolveMountpoint(written, mounts);
    const isBelow = mountpoint !== directory && isWithin(mountpoint, directory);
    if (isBelow && !shown.has(mountpoint)) found.add(mountpoint);
  }
  return [...found].toSorted();
}
