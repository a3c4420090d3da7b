import { readFile, realpath, stat } from 'node:fs/promises';
import { FsbackupError } from '../errors.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import { deviceNumber } from '../system/device-number.js';
import { readFilesystemFacts } from '../system/filesystem-facts.js';
import { readFilesystemsInUse } from '../system/in-use.js';
import { readMounts } from '../system/mountinfo.js';
import type { FreezeTarget } from './freezer.js';

/** On a block device, and without freeze_fs in their super operations: FIFREEZE answers EOPNOTSUPP. */
const UNFREEZABLE = new Set([
  'vfat',
  'msdos',
  'exfat',
  'ntfs',
  'ntfs3',
  'fuseblk',
  'squashfs',
  'erofs',
  'iso9660',
  'udf',
  'cramfs',
  'minix',
]);

/** Those without a block device (`nodev` in /proc/filesystems) cannot be frozen either. */
async function refuseUnfreezable(filesystem: FilesystemFacts): Promise<void> {
  const { fstype, mountpoint } = filesystem.mount;
  const family = fstype.split('.')[0] ?? fstype;
  const nodev = (await readFile('/proc/filesystems', 'utf8')).split('\n').includes(`nodev\t${family}`);
  if (!nodev && !UNFREEZABLE.has(family)) return;
  throw new FsbackupError('notFrozen', `${mountpoint} is ${fstype}, which cannot be frozen`, {
    hint: 'Freeze works on ext4, XFS, btrfs and other filesystems on a block device.',
  });
}

/** Frozen, it would block us or the machine. */
async function refuseInUse(filesystems: readonly FilesystemFacts[]): Promise<void> {
  for (const { what, majorMinor, below } of await readFilesystemsInUse()) {
    const hit = filesystems.find(
      ({ mount }) => mount.majorMinor === majorMinor || below.includes(mount.majorMinor),
    );
    if (hit === undefined) continue;
    throw new FsbackupError(
      'notFrozen',
      `${hit.mount.mountpoint} holds ${what}: freezing it could block fsbackup or the machine`,
      {
        hint: 'Redirect or move what lies there, or say --force if you know that nothing writes to it.',
      },
    );
  }
}

/** A device is not what is mounted from it, and a file not the filesystem that it lies on. */
async function refuseNoDirectory(requested: string): Promise<void> {
  const found = await stat(requested).catch(() => undefined);
  if (found === undefined || found.isDirectory()) return;
  const number = await deviceNumber(requested);
  const mounted = (await readMounts()).find(({ majorMinor }) => majorMinor === number)?.mountpoint;
  throw new FsbackupError('usage', `${requested} is not a directory, and so no mountpoint`, {
    hint:
      mounted === undefined
        ? 'Name the mountpoint of the filesystem that is to be frozen.'
        : `Name where it is mounted: ${mounted}.`,
  });
}

async function atMountpoint(requested: string): Promise<FilesystemFacts> {
  await refuseNoDirectory(requested);
  const { filesystem } = await readFilesystemFacts(requested);
  if ((await realpath(requested)) === filesystem.mount.mountpoint) return filesystem;
  throw new FsbackupError(
    'usage',
    `${requested} is not a mountpoint; it belongs to ${filesystem.mount.mountpoint}`,
    {
      hint: `A freeze takes the whole filesystem: to freeze it, name ${filesystem.mount.mountpoint}.`,
    },
  );
}

/** How many filesystems lie below. */
function depth(filesystem: FilesystemFacts): number {
  return filesystem.below?.length ?? 0;
}

/**
 * The filesystems at `mountpoints`, each once, the upper of a stack before the lower: the order to freeze in.
 *
 * Rejects with `usage` for a path that is not a mountpoint, and with `notFrozen` for a filesystem that cannot be
 * frozen or, without `force`, that the machine or we ourselves need.
 */
export async function findFreezeTargets(
  mountpoints: readonly string[],
  options: { force: boolean },
): Promise<FreezeTarget[]> {
  const found = new Map<string, FilesystemFacts>();
  for (const mountpoint of mountpoints) {
    const filesystem = await atMountpoint(mountpoint);
    await refuseUnfreezable(filesystem);
    found.set(filesystem.mount.majorMinor, filesystem);
  }
  const filesystems = [...found.values()].toSorted((a, b) => depth(b) - depth(a));
  if (!options.force) await refuseInUse(filesystems);
  return filesystems.map(({ mount }) => ({
    mountpoint: mount.mountpoint,
    majorMinor: mount.majorMinor,
    device: mount.source,
    fstype: mount.fstype,
  }));
}
