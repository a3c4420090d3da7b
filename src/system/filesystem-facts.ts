import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../errors.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import { mountOfDescriptor } from './descriptor-mount.js';
import { readSpace } from './filesystem-space.js';
import { readExt4ReserveBytes } from './ext4-reserve.js';
import { stackOf } from './filesystem-stack.js';
import { locateLogicalVolume, type VolumesRead } from './lvm.js';
import { layersBelow } from './layers-below.js';
import { readMounts, type Mount } from './mountinfo.js';
import { enclosingSubvolume } from './subvolume.js';
import { unmountedAbove } from './unmounted.js';
import { readZfsVolume } from './zfs-facts.js';
import { shellWord } from './command-line.js';

/** A directory and the filesystem that it lies on. */
export interface LocatedDirectory {
  /** Absolute and without symlinks; `filesystem.mount.mountpoint` or below it. */
  path: string;
  filesystem: FilesystemFacts;
}

export interface FactsOptions {
  /** How long the filesystem may take to answer. */
  timeoutMs?: number;
  fstab?: string;
  /** Asked for the logical volume below, where there is one; left out where nobody needs to know. */
  readVolumes?: () => Promise<VolumesRead>;
  /** Whether ZFS is asked for the dataset or zvol, where there is one; left out where nobody needs to know. */
  readZfs?: boolean;
}

function unusable(message: string, hint: string, cause?: unknown): FsbackupError {
  return new FsbackupError('usage', message, { hint, cause });
}

/** What is wrong where `mountOfDescriptor` finds nothing. */
export function notAmongMounts(directory: string): FsbackupError {
  return unusable(
    `${directory} is on a filesystem that is not among the mounts in /proc/self/mountinfo`,
    'If it was unmounted just now, mount it again. In a chroot, the new root must be a mountpoint: mount --bind DIR DIR before it.',
  );
}

/** What Node makes of a byte of an argument that is no UTF-8: another name than the one that is meant. */
const REPLACEMENT = '\u{fffd}';

/** Opens a directory, symlinks resolved; every way in which it is not one is a `usage` error that says which. */
async function openDirectory(requested: string): Promise<{ path: string; handle: FileHandle }> {
  try {
    const resolved = await realpath(requested);
    return { path: resolved, handle: await open(resolved, constants.O_RDONLY | constants.O_DIRECTORY) };
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
        throw unusable(
          `${requested} does not exist`,
          requested.includes(REPLACEMENT)
            ? 'A name with bytes that are not UTF-8 cannot be told to fsbackup: name the directory above it, which is backed up with all names as they are.'
            : 'Correct the path, make the directory, or mount what should be there.',
          error,
        );
      case 'ENOTDIR':
        throw unusable(
          `${requested} is not a directory`,
          'Name the directory that holds it; where that is a source, `exclude` leaves out the rest.',
          error,
        );
      case 'EACCES':
      case 'EPERM':
        throw unusable(`${requested} may not be opened: permission denied`, 'Run fsbackup as root.', error);
      case undefined:
        throw error;
      default:
        throw unusable(
          `${requested} cannot be opened: ${errnoOf(error)}`,
          'See `dmesg` for what is wrong with the filesystem, or correct the path.',
          error,
        );
    }
  }
}

/** An empty directory where a filesystem should be mounted would make an empty backup. */
async function refuseUnmounted(directory: string, mounts: readonly Mount[], fstab?: string): Promise<void> {
  const missing = await unmountedAbove(directory, mounts, fstab);
  if (missing === undefined) return;
  throw unusable(
    `${directory} is not mounted: /etc/fstab has a filesystem for ${missing.written}, which is not there`,
    `Mount it: mount ${shellWord(missing.written)}`,
  );
}

/**
 * What is known of the filesystem that holds the directory `requested`. The directory is opened first and the open
 * descriptor identified, so bind mounts, overmounts and symlinks are what they are and not what they look like.
 * Inside a nested btrfs subvolume `mount` is narrowed to it (mountpoint and root), since a snapshot of the outer
 * subvolume holds nothing of it.
 *
 * Rejects with `usage` for a path that is missing, no directory, or below an fstab mountpoint that is not mounted;
 * with `notFrozen` when the filesystem does not answer; with `failed` when stat(1) cannot be run.
 */
export async function readFilesystemFacts(
  requested: string,
  options: FactsOptions = {},
): Promise<LocatedDirectory> {
  const asked = path.resolve(requested);
  const space = await readSpace(asked, options.timeoutMs);
  const { path: directory, handle } = await openDirectory(asked);
  try {
    await refuseUnmounted(directory, await readMounts(), options.fstab);
    const mount = await mountOfDescriptor(handle.fd);
    if (mount === undefined) throw notAmongMounts(directory);
    if (space === undefined) {
      // As often as not the host has no process or no memory left for stat(1): nothing is wrong with what was asked for.
      throw new FsbackupError(
        'failed',
        `how much room there is on the filesystem of ${directory} cannot be found out`,
        { hint: `See what this says: stat --file-system ${directory}` },
      );
    }
    if (mount.root.endsWith('//deleted')) {
      throw unusable(
        `${mount.mountpoint} is a bind mount of a directory that was deleted`,
        `Unmount it: umount ${shellWord(mount.mountpoint)}`,
      );
    }
    const stack = await stackOf(mount);
    const zfs = options.readZfs === true ? await readZfsVolume(mount, stack) : undefined;
    // A pool that does not answer is not asked on.
    const layers =
      zfs?.problem === undefined ? await layersBelow(mount, stack) : { images: [], filesystems: [] };
    const { freeBytes, totalBytes, blockSizeBytes } = space;
    const reserveBytes = stack === undefined ? 0 : await readExt4ReserveBytes(stack[0].name, blockSizeBytes);
    return {
      path: directory,
      filesystem: {
        ...(mount.fstype === 'btrfs'
          ? {
              mount: await enclosingSubvolume(directory, mount),
              subvolumeDevice: String((await handle.stat({ bigint: true })).dev),
            }
          : { mount }),
        stack,
        images: layers.images,
        below: layers.filesystems,
        ...(zfs === undefined ? {} : { zfs }),
        ...(options.readVolumes === undefined ? {} : await locateLogicalVolume(stack, options.readVolumes)),
        freeBytes: Math.max(0, freeBytes - reserveBytes),
        totalBytes,
      },
    };
  } finally {
    await handle.close();
  }
}
