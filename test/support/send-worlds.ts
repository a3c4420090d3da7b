import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { createBtrfsSendEngine } from '../../src/copy/btrfs/btrfs-send-engine.js';
import { createImageEngine } from '../../src/copy/image/image-engine.js';
import type { FreezeMode, ProviderName } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { flipByteOfLargest } from './engine-requests.js';
import type { ExposedSnapshot, SendWorld } from './send-harness.js';
import { exposeIn, takeSnapshot } from './take-snapshot.js';
import { must, ThrowawayDisks, type ThrowawayFilesystem } from './throwaway-filesystem.js';

/** Takes snapshots of what is mounted at `mountpoint`, and exposes each below `directory`. */
export function snapshotter(
  { mountpoint, directory }: { mountpoint: string; directory: string },
  { name, mode }: { name: ProviderName; mode: FreezeMode },
): () => Promise<ExposedSnapshot> {
  let count = 0;
  return async () => {
    count += 1;
    const provider = providerByName(name);
    await must('sync', '--file-system', mountpoint);
    const { ref } = await takeSnapshot(provider, mountpoint, `fsbackup-contract-${count}`, mode);
    const readFrom = await exposeIn(provider, ref, directory);
    const exposure = { snapshot: ref, path: readFrom };
    const hide = async (): Promise<void> => {
      await provider.unexpose(exposure);
      await provider.keep?.(ref);
    };
    return {
      source: { path: '/srv/www', readFrom, exclude: [], snapshot: ref },
      readFrom,
      hide,
      remove: async () => {
        await provider.unexpose(exposure);
        await provider.remove(ref);
      },
    };
  };
}

/** Flips one bit wherever a file or device holds `marker`, below what keeps it whole. Throws when it does not. */
export async function flipMarker(file: string, marker: Buffer): Promise<void> {
  const handle = await open(file, 'r+');
  let flipped = 0;
  try {
    const size = 1024 * 1024;
    const { size: end } = await handle.stat();
    for (let at = 0; at < end; at += size) {
      const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(size + 64), position: at });
      const found = buffer.subarray(0, bytesRead).indexOf(marker);
      if (found === -1 || found >= size) continue;
      await handle.write(Buffer.from([(marker[0] ?? 0) ^ 1]), 0, 1, at + found);
      flipped += 1;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (flipped === 0) throw new Error(`${file} does not hold what was looked for`);
}

/** On the device itself, where btrfs' checksums tell. */
async function flipOnDevice(target: ThrowawayFilesystem, marker: Buffer): Promise<void> {
  await must('umount', target.mountpoint);
  await flipMarker(target.image, marker);
  await must('mount', target.device, target.mountpoint);
}

/** Snapshots of a btrfs, to a btrfs or to files on ext4. */
export async function btrfsSendWorld(to: 'btrfs' | 'ext4'): Promise<SendWorld> {
  const disks = new ThrowawayDisks();
  const origin = await disks.filesystem({ fstype: 'btrfs', sizeMiB: 768, name: 'origin' });
  const target = await disks.filesystem({ fstype: to, sizeMiB: 1024, name: 'target' });
  const scratch = await disks.filesystem({ fstype: 'ext4', sizeMiB: 3072, name: 'scratch' });
  const directory = path.join(disks.directory, 'exposed');
  await mkdir(directory);
  return {
    engine: createBtrfsSendEngine(),
    mountpoint: origin.mountpoint,
    snapshot: snapshotter({ mountpoint: origin.mountpoint, directory }, { name: 'btrfs', mode: 'atomic' }),
    target: target.mountpoint,
    // The smallest that mkfs.btrfs takes.
    smallTarget: async () => {
      const small = await disks.filesystem({ fstype: to, sizeMiB: to === 'btrfs' ? 115 : 24 });
      if (to === 'btrfs')
        await must(
          'dd',
          'if=/dev/urandom',
          `of=${small.mountpoint}/full`,
          'bs=1M',
          'count=30',
          'status=none',
        );
      return small.mountpoint;
    },
    scratch: scratch.mountpoint,
    flipByte: async (dataDirectory) => {
      if (to === 'ext4') {
        await flipByteOfLargest(dataDirectory);
        return;
      }
      const file = await must('find', dataDirectory, '-name', 'large');
      const handle = await open(file, 'r');
      const { buffer } = await handle.read({ buffer: Buffer.alloc(64), position: 5 * 1024 * 1024 });
      await handle.close();
      await flipOnDevice(target, buffer);
    },
    dispose: () => disks.dispose(),
  };
}

/** Images of a filesystem that lies in an image file itself, to files. */
export async function reflinkImageWorld(fstype: 'ext4' | 'xfs'): Promise<SendWorld> {
  const disks = new ThrowawayDisks();
  const on = await disks.filesystem({ fstype: 'xfs', sizeMiB: 2048, name: 'outer' });
  const origin = await disks.filesystem({ fstype, sizeMiB: 512, on, name: 'origin' });
  const target = await disks.filesystem({ fstype: 'ext4', sizeMiB: 1024, name: 'target' });
  const scratch = await disks.filesystem({ fstype: 'ext4', sizeMiB: 3072, name: 'scratch' });
  const directory = path.join(disks.directory, 'exposed');
  await mkdir(directory);
  const { mountpoint } = origin;
  return {
    engine: createImageEngine(),
    mountpoint,
    snapshot: snapshotter({ mountpoint, directory }, { name: 'reflink', mode: 'explicit' }),
    target: target.mountpoint,
    smallTarget: async () => (await disks.filesystem({ fstype: 'ext4', sizeMiB: 24 })).mountpoint,
    scratch: scratch.mountpoint,
    flipByte: flipByteOfLargest,
    dispose: () => disks.dispose(),
  };
}
