import type { FilesystemFacts } from './provider.js';

/** Those on a zvol whose mounts and freezes are known to go well beside a copy of the same UUID. */
const ON_ZVOL: ReadonlySet<string> = new Set(['ext2', 'ext3', 'ext4', 'xfs']);

/** Why ZFS cannot snapshot a filesystem, and, where it lies on ZFS, the way out; undefined when it can. Pure. */
export function refuseZfs({ mount, zfs }: FilesystemFacts): { reason: string; hint?: string } | undefined {
  if (zfs === undefined) {
    return { reason: `${mount.fstype} on ${mount.source} is no ZFS dataset and lies on no zvol` };
  }
  if (zfs.problem !== undefined) return zfs.problem;
  if (zfs.kind === 'filesystem') return undefined;
  if (!ON_ZVOL.has(mount.fstype)) {
    const why = mount.fstype === 'btrfs' ? ': a copy of it has its UUID and cannot be mounted beside it' : '';
    return {
      reason: `${mount.fstype} on the zvol ${zfs.dataset} is not supported${why}`,
      hint:
        mount.fstype === 'btrfs'
          ? 'Set `snapshot: btrfs`, which snapshots it by itself.'
          : 'Configure `snapshot: command`, or `snapshot: none` to copy the live tree.',
    };
  }
  if (mount.superOptions.some((option) => /^(?:logdev|rtdev)=/.test(option))) {
    return {
      reason: `a part of it (log or realtime device) lies outside of the zvol ${zfs.dataset}`,
      hint: 'Configure `snapshot: command`, with commands that snapshot all of its devices at one instant.',
    };
  }
  return undefined;
}
