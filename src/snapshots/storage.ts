import { FsbackupError } from '../errors.js';
import { readSpace } from '../system/filesystem-space.js';
import { mountAt } from '../system/mount.js';
import type { SnapshotRef } from './provider.js';

/** The filesystem that a snapshot lies on, as a later process, perhaps after a reboot, can find it again. */
export interface Storage {
  mountpoint: string;
  fstype: string;
}

/** Writes a storage into a ref's data. */
export function storageData({ mountpoint, fstype }: Storage): Record<string, string> {
  return { storageMountpoint: mountpoint, storageFstype: fstype };
}

/**
 * Throws `cleanupIncomplete` unless the filesystem that holds the snapshot is mounted: a file that cannot be seen is
 * not for that reason gone.
 */
export async function requireStorage(ref: SnapshotRef): Promise<void> {
  const { storageMountpoint = '', storageFstype = '' } = ref.data;
  const mount = await mountAt(storageMountpoint);
  if (mount?.fstype === storageFstype) return;
  throw new FsbackupError(
    'cleanupIncomplete',
    `The snapshot ${ref.name} lies on a ${storageFstype} that is not mounted at ${storageMountpoint}`,
    { hint: `Mount it there, then run: fsbackup recover` },
  );
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 / 1024)} MiB`;
}

/**
 * Throws `snapshotFailed` unless `directory` has `neededBytes` free. A storage that fills up under a snapshot takes the
 * live filesystem down with it, since each block that is overwritten there now needs a new one.
 */
export async function requireRoom(directory: string, neededBytes: number): Promise<void> {
  const space = await readSpace(directory);
  if (space === undefined || space.freeBytes >= neededBytes) return;
  throw new FsbackupError(
    'snapshotFailed',
    `Too little room for a snapshot in ${directory}: ${mebibytes(space.freeBytes)} free, ${mebibytes(neededBytes)} needed`,
    { hint: 'Free some room there: what is written while the snapshot exists needs new blocks.' },
  );
}
