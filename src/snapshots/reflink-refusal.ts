import type { FilesystemFacts } from './provider.js';

/** Those whose mounts and freezes are known to go well beside a copy of the same UUID. */
const INNER_TYPES: ReadonlySet<string> = new Set(['ext2', 'ext3', 'ext4', 'xfs']);
/** Those that share blocks between files. */
const OUTER_TYPES: ReadonlySet<string> = new Set(['xfs', 'btrfs']);

/** Why a clone of an image file cannot snapshot a filesystem, as a clause; undefined when it can. Pure. */
export function refuseReflink({ mount, stack, images }: FilesystemFacts): string | undefined {
  const [device] = stack ?? [];
  if (device === undefined) return `${mount.fstype} on ${mount.source} lies on no block device`;
  if (device.backingFile === undefined) return `${device.name} is no image file on a loop device`;
  if (mount.fstype === 'btrfs') {
    return 'a copy of a btrfs has its UUID and cannot be mounted beside it';
  }
  if (!INNER_TYPES.has(mount.fstype)) return `${mount.fstype} in an image file is not supported`;
  if (mount.superOptions.some((option) => /^(?:logdev|rtdev)=/.test(option))) {
    return 'a part of it (log or realtime device) lies outside of its image';
  }
  const image = images?.find((candidate) => candidate.device === device.majorMinor);
  if (image?.mount === undefined) {
    return `the image ${device.backingFile} of ${device.name} cannot be reached: deleted, or in another mount namespace`;
  }
  const { fstype, mountpoint, options, superOptions } = image.mount;
  if (!OUTER_TYPES.has(fstype)) {
    return `its image lies on ${fstype} (${mountpoint}), which cannot share blocks; XFS and btrfs can`;
  }
  if (options.includes('ro') || superOptions.includes('ro')) {
    return `its image lies on a read-only mount (${mountpoint})`;
  }
  return undefined;
}
