import type { SnapshotSize } from './provider.js';
import { FsbackupError } from '../errors.js';
import type { LogicalVolume } from '../system/lvm.js';

const MIB = 1024 * 1024;
/** What `auto` gives: a fifth of the origin may be overwritten during a copy, far more than one day's change is. */
const AUTO_SHARE = 0.2;
/** Below this a journal that wraps once would overflow it: ext4's is 128 MiB at most on such disks, XFS's 64 MiB. */
const AUTO_MIN_BYTES = 256 * MIB;
/** Left in the volume group by `auto`: for the other snapshots of the job, and for whoever must extend a volume. */
const AUTO_SHARE_OF_FREE = 0.8;
/** The exceptions' own room: 16 bytes for each chunk of 4 KiB, and the header. */
const EXCEPTION_SHARE = 16 / 4096;

/** More than this a snapshot cannot use: every block overwritten once. lvcreate would cut it down to about that. */
function mostUseful({ sizeBytes, vgExtentBytes }: LogicalVolume): number {
  return sizeBytes * (1 + EXCEPTION_SHARE) + vgExtentBytes;
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}

/**
 * The bytes to give a classic snapshot of `origin`, a multiple of its extents, where `freeBytes` of the volume group
 * are left. Pure. Throws `snapshotFailed` where there is no room.
 */
export function snapshotBytes(
  origin: LogicalVolume,
  size: SnapshotSize,
  freeBytes = origin.vgFreeBytes,
): number {
  const { vg, lv, sizeBytes, vgExtentBytes } = origin;
  const wanted =
    size === 'auto'
      ? Math.min(Math.max(sizeBytes * AUTO_SHARE, AUTO_MIN_BYTES), freeBytes * AUTO_SHARE_OF_FREE)
      : 'bytes' in size
        ? size.bytes
        : (sizeBytes * size.percentOfOrigin) / 100;
  const extents = Math.floor(Math.min(wanted, mostUseful(origin)) / vgExtentBytes);
  const bytes = Math.max(1, extents) * vgExtentBytes;
  const least = size === 'auto' ? Math.max(vgExtentBytes, Math.min(sizeBytes * 0.02, AUTO_MIN_BYTES)) : bytes;
  if (bytes <= freeBytes && bytes >= least) return bytes;
  throw new FsbackupError(
    'snapshotFailed',
    `The volume group ${vg} has too little room for a snapshot of ${vg}/${lv}: ${mebibytes(freeBytes)} free, ${mebibytes(Math.max(bytes, least))} needed`,
    {
      hint: `Give it a disk (vgextend ${vg} DEVICE), shrink or remove a volume in it, or set a smaller \`lvm.size\`.`,
    },
  );
}
