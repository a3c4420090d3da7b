import { runDirectory } from '../system/directories.js';
import { isWithin, readMounts, type Mount } from '../system/mountinfo.js';
import { visibleMounts } from '../system/submounts.js';

/** On a block device, and nobody's data: images to read, and what firmware boots from. */
const NO_SOURCES: ReadonlySet<string> = new Set(['squashfs', 'iso9660', 'erofs', 'udf', 'cramfs', 'vfat']);

function canBeSource({ majorMinor, fstype, mountpoint }: Mount): boolean {
  if (isWithin(mountpoint, runDirectory()) || NO_SOURCES.has(fstype)) return false;
  // Major 0 is of filesystems without a block device; btrfs and ZFS have one all the same, or several.
  return !majorMinor.startsWith('0:') || fstype === 'btrfs' || fstype === 'zfs';
}

/** Of several mounts of one filesystem the one that shows most of it, and of those the shortest path. */
function isBetter(a: Mount, b: Mount): boolean {
  const rank = ({ root, mountpoint }: Mount): number => root.length * 4096 + mountpoint.length;
  return rank(a) < rank(b);
}

/** Mountpoints of all filesystems that could be sources, one for each. Pure but for the run directory's name. */
export function filesystemsAmong(mounts: readonly Mount[]): string[] {
  const best = new Map<string, Mount>();
  for (const mount of visibleMounts(mounts).filter(canBeSource)) {
    const known = best.get(mount.majorMinor);
    if (known === undefined || isBetter(mount, known)) best.set(mount.majorMinor, mount);
  }
  return [...best.values()].map(({ mountpoint }) => mountpoint).toSorted();
}

/** As `filesystemsAmong`, of this process's mounts. */
export async function findFilesystems(): Promise<string[]> {
  return filesystemsAmong(await readMounts());
}
