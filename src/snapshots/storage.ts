import path from 'node:path';
import { AbsentStorageError, FsbackupError } from '../errors.js';
import { stateDirectory } from '../system/directories.js';
import { readSpace } from '../system/filesystem-space.js';
import { stackOf } from '../system/filesystem-stack.js';
import { deviceWithUuid, filesystemUuid } from '../system/filesystem-uuid.js';
import { isWithin, mountOfPath, readMounts, type Mount } from '../system/mountinfo.js';
import { visibleMounts } from '../system/submounts.js';
import type { SnapshotRef } from './provider.js';

/**
 * Writes into a ref's data which filesystem the snapshot at the path `snapshot` lies on, so that a later process, perhaps
 * after a reboot, knows it again: by its UUID, wherever and by whichever subvolume it is mounted then. `mount` is the one
 * that the path is on.
 */
export async function storageData(mount: Mount, snapshot: string): Promise<Record<string, string>> {
  const { mountpoint, fstype, root } = mount;
  const uuid = await filesystemUuid(await stackOf(mount));
  return {
    storageMountpoint: mountpoint,
    storageFstype: fstype,
    ...(uuid === undefined
      ? {}
      : { storageUuid: uuid, storagePath: path.join(root, path.relative(mountpoint, snapshot)) }),
  };
}

/** A filesystem that a snapshot may lie on, as it is mounted now. */
export interface Storage {
  /** Its mounts that a path can lead into, those that can be written to first. */
  mounts: readonly [Mount, ...Mount[]];
  /** A path that leads to a directory of the filesystem, named from its top; undefined where no mount shows it. */
  reach(inside: string): string | undefined;
}

function where({ data }: SnapshotRef): { filesystem: string; source: string } {
  const { storageMountpoint = '', storageFstype = '', storageUuid } = data;
  if (storageUuid === undefined) return { filesystem: storageFstype, source: 'what was there' };
  return {
    filesystem: `${storageFstype} ${storageUuid}, which was at ${storageMountpoint}`,
    source: `UUID=${storageUuid}`,
  };
}

function notMounted(ref: SnapshotRef): FsbackupError {
  const { storageMountpoint = '', storageUuid, storagePath } = ref.data;
  const { filesystem, source } = where(ref);
  const hint = `Mount ${source}, then run: fsbackup recover`;
  if (storageUuid === undefined) {
    const message = `The snapshot ${ref.name} lies on a ${filesystem} that is not mounted at ${storageMountpoint}`;
    const journal = path.join(stateDirectory(), 'journal');
    return new FsbackupError('cleanupIncomplete', message, {
      hint: `${hint}. If it is no more, remove the file that names the snapshot from ${journal}.`,
    });
  }
  return new AbsentStorageError(`The snapshot ${ref.name} lies on the ${filesystem} and is not mounted`, {
    hint,
    left: `${storagePath} on the ${filesystem}`,
    findDevice: () => deviceWithUuid(storageUuid),
  });
}

/** The error for a snapshot, or the place for it, that lies where no mount of its filesystem leads to. */
export function notShown(ref: SnapshotRef, inside: string): FsbackupError {
  const { filesystem, source } = where(ref);
  const top = ref.data['storageFstype'] === 'btrfs' ? '-o subvol=/ ' : '';
  return new FsbackupError(
    'cleanupIncomplete',
    `The snapshot ${ref.name} is ${inside} on the ${filesystem}, and no mount shows that`,
    { hint: `Mount all of it (mount ${top}${source} DIRECTORY), then run: fsbackup recover` },
  );
}

/** Whether the filesystem of these mounts is the one that holds a snapshot. */
async function isStorage(mounts: readonly [Mount, ...Mount[]], { data }: SnapshotRef): Promise<boolean> {
  const { storageMountpoint, storageFstype, storageUuid } = data;
  const [{ fstype, superOptions }] = mounts;
  if (fstype !== storageFstype) return false;
  const isAtPlace = mounts.some(({ mountpoint }) => mountpoint === storageMountpoint);
  // Of a version that did not record the UUID: the place is all there is to go by.
  if (storageUuid === undefined) return isAtPlace;
  // A copy of an XFS, a snapshot by LVM perhaps, has its UUID: this is how it can be mounted beside it.
  if (superOptions.includes('nouuid') && !isAtPlace) return false;
  return (await filesystemUuid(await stackOf(mounts[0]))) === storageUuid;
}

/** A path of what is `inside` a filesystem, by one of `mounts` that is not hidden there. */
function pathThrough(
  mounts: readonly Mount[],
  inside: string,
  visible: readonly Mount[],
): string | undefined {
  for (const mount of mounts.filter(({ root }) => isWithin(inside, root))) {
    const seen = path.join(mount.mountpoint, path.relative(mount.root, inside));
    if (mountOfPath(visible, seen) === mount) return seen;
  }
  return undefined;
}

/**
 * The filesystem that holds a snapshot, or several of its UUID: only where none of them has it is it gone. Rejects with
 * `cleanupIncomplete` where none is mounted: a file that cannot be seen is not for that reason gone.
 */
export async function findStorages(ref: SnapshotRef): Promise<Storage[]> {
  const visible = visibleMounts(await readMounts());
  const isReadOnly = ({ options }: Mount): number => Number(options.includes('ro'));
  const storages: Storage[] = [];
  for (const superblock of new Set(visible.map(({ majorMinor }) => majorMinor))) {
    const all = visible.filter(({ majorMinor }) => majorMinor === superblock);
    const [first, ...others] = all.toSorted((a, b) => isReadOnly(a) - isReadOnly(b));
    if (first === undefined || !(await isStorage([first, ...others], ref))) continue;
    const mounts = [first, ...others] as const;
    storages.push({ mounts, reach: (inside) => pathThrough(mounts, inside, visible) });
  }
  if (storages.length === 0) throw notMounted(ref);
  return storages;
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
