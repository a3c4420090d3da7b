import { isWithin, type Mount } from './mountinfo.js';

/**
 * Filesystems whose files the kernel makes up, and those in memory alone, which are empty after each boot: where none is
 * mounted, no backup misses it. Everything else is named: overlay, FUSE, network and disk filesystems hold what somebody may want back.
 */
const NOTHING_TO_BACK_UP: ReadonlySet<string> = new Set([
  'autofs',
  'binfmt_misc',
  'bpf',
  'cgroup',
  'cgroup2',
  'configfs',
  'debugfs',
  'devpts',
  'devtmpfs',
  'efivarfs',
  'fusectl',
  'hugetlbfs',
  'mqueue',
  'nfsd',
  'nsfs',
  'proc',
  'pstore',
  'ramfs',
  'rpc_pipefs',
  'securityfs',
  'selinuxfs',
  'sysfs',
  'tmpfs',
  'tracefs',
]);

/** Whether a filesystem of this type may hold what a backup should. */
export function isWorthBackingUp(fstype: string): boolean {
  return !NOTHING_TO_BACK_UP.has(fstype);
}

/** In memory, and somebody's data all the same: a database, a cache, the home of a live system. */
const IN_MEMORY: ReadonlySet<string> = new Set(['ramfs', 'tmpfs']);
/** What is in memory there is by convention gone with a reboot. */
const SCRATCH = ['/dev', '/proc', '/run', '/sys', '/tmp', '/var/tmp'];

function isWorthNaming({ fstype, mountpoint }: Mount): boolean {
  if (IN_MEMORY.has(fstype)) return !SCRATCH.some((directory) => isWithin(mountpoint, directory));
  return isWorthBackingUp(fstype);
}

/**
 * The mounts that a path can lead into. One is hidden when another is mounted on top of it, or later on a directory
 * above it that belongs to the same parent mount.
 */
export function visibleMounts(mounts: readonly Mount[]): Mount[] {
  const byId = new Map(mounts.map((mount) => [mount.mountId, mount]));
  // The root of a mount tree may be its own parent.
  const childrenOf = (parentId: number): Mount[] =>
    mounts.filter((mount) => mount.parentId === parentId && mount.mountId !== parentId);
  const isCovered = (mount: Mount): boolean =>
    childrenOf(mount.mountId).some((child) => child.mountpoint === mount.mountpoint);
  const isReachable = (mount: Mount): boolean => {
    const hidden = childrenOf(mount.parentId).some(
      (other) => other.mountpoint !== mount.mountpoint && isWithin(mount.mountpoint, other.mountpoint),
    );
    const parent = byId.get(mount.parentId);
    return !hidden && (parent === undefined || parent === mount || isReachable(parent));
  };
  return mounts.filter((mount) => !isCovered(mount) && isReachable(mount));
}

/** ZFS mounts a snapshot here by itself when somebody looks into it; it is no part of the tree. */
function isAutomountedSnapshot({ fstype, mountpoint }: Mount): boolean {
  return fstype === 'zfs' && mountpoint.includes('/.zfs/snapshot/');
}

/**
 * The mounts below `directory`, which a snapshot of its filesystem shows as empty directories (or, for a bind mount
 * of a file, as an empty file), sorted by mountpoint. Left out: what is hidden under another mount, the filesystems of the
 * kernel, those in memory alone where they are scratch by convention, and what ZFS shows in `.zfs/snapshot`.
 */
export function submountsBelow(mounts: readonly Mount[], directory: string): Mount[] {
  return visibleMounts(mounts)
    .filter((mount) => mount.mountpoint !== directory && isWithin(mount.mountpoint, directory))
    .filter((mount) => isWorthNaming(mount) && !isAutomountedSnapshot(mount))
    .toSorted((a, b) => (a.mountpoint < b.mountpoint ? -1 : 1));
}
