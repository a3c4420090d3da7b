import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { readBlockStack } from '../system/block-stack.js';
import { deviceNumber } from '../system/device-number.js';
import type { Mount } from '../system/mountinfo.js';
import { alreadyMounted, isSealed, mountAt, mountReadOnly, remountReadOnly } from '../system/mount.js';
import { withPinnedDirectory } from '../system/pinned-directory.js';
import { showInside } from './show-inside.js';

/** A block device that holds what was taken. */
export interface SnapshotDevice {
  device: string;
  directory: string;
  fstype: string;
  /** What the origin's mountpoint showed of its filesystem: `/`, or a directory for a bind mount. */
  root: string;
  /** Taken frozen: ext4's journal is empty. */
  clean: boolean;
}

/**
 * Mount options beside `ro` for a copy of a filesystem on a device that cannot be written to. XFS refuses the UUID of
 * its mounted origin (`nouuid`) and leaves its log dirty on purpose when frozen (`norecovery`). An ext4 that was taken
 * frozen mounts without `noload`, which proves once more that the freeze held.
 */
export function copyOptions(fstype: string, clean: boolean): string[] {
  if (fstype === 'xfs') return ['nouuid', 'norecovery'];
  return /^ext[34]$/.test(fstype) && !clean ? ['noload'] : [];
}

/**
 * Ends what every provider's `expose` begins: the whole filesystem is mounted at `directory`, or `shown` was there
 * before. An origin that was a bind mount of the directory `root` is shown as that; all of it is read-only.
 */
export async function showReadOnly(directory: string, root: string, shown: Mount | undefined): Promise<void> {
  if (root !== '/' && shown?.root !== root) {
    await withPinnedDirectory(await realpath(directory), (snapshot) =>
      showInside(snapshot, path.relative('/', root), directory),
    );
  } else if (shown !== undefined && !isSealed(shown)) {
    await remountReadOnly(directory);
  }
}

/** Mounts a read-only device at an empty directory. Idempotent. Rejects with `snapshotFailed`. */
export async function exposeDevice({
  device,
  directory,
  fstype,
  root,
  clean,
}: SnapshotDevice): Promise<void> {
  const shown = await mountAt(directory);
  if (shown === undefined) {
    await mountReadOnly({ source: device, directory, fstype, options: copyOptions(fstype, clean) });
  } else if ((await readBlockStack(shown.majorMinor))?.[0].majorMinor !== (await deviceNumber(device))) {
    throw alreadyMounted(directory, shown);
  }
  await showReadOnly(directory, root, shown);
}
