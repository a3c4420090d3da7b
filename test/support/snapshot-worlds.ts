import { mkdir, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import type { SnapshotCommands } from '../../src/config/types.js';
import { SNAPSHOT_DIRECTORY_NAME } from '../../src/snapshots/private-directory.js';
import type {
  DetectionContext,
  FreezeMode,
  ProviderName,
  SnapshotProvider,
} from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import type { Capability } from './capabilities.js';
import { must, type ThrowawayDisks } from './throwaway-filesystem.js';

const ARRAY = path.resolve(import.meta.dirname, '../fixtures/snapshot-array/array');

/** Storage that a provider can snapshot, and what the contract must know of it. */
export interface SnapshotWorld {
  /** Two origins that one call can snapshot. */
  mountpoints: readonly [string, string];
  freezeMode: FreezeMode;
  /** What `detect` is told; left out where it does not matter. */
  context?: DetectionContext;
  /** A new object each time, as another process would have. */
  newProvider(): SnapshotProvider;
  /** What is kept on the storage beside the origins: nothing, when all snapshots are removed. */
  stored(): Promise<string[]>;
}

/** A kind of storage. */
export interface WorldKind {
  provider: ProviderName;
  title: string;
  needs: readonly Capability[];
  make(disks: ThrowawayDisks): Promise<SnapshotWorld>;
}

async function privateDirectories(...directories: string[]): Promise<string[]> {
  const names = await Promise.all(directories.map((directory) => readdir(directory)));
  return names.flat().filter((name) => name === SNAPSHOT_DIRECTORY_NAME);
}

function reflinkWorld(outerType: 'xfs' | 'btrfs', innerType: 'ext4' | 'xfs'): WorldKind {
  return {
    provider: 'reflink',
    title: `reflink: ${innerType} in an image on ${outerType}`,
    needs: ['root', 'loop', outerType, innerType],
    async make(disks) {
      const on = await disks.filesystem({ fstype: outerType, sizeMiB: 1024 });
      const first = await disks.filesystem({ fstype: innerType, on });
      const second = await disks.filesystem({ fstype: innerType, on });
      return {
        mountpoints: [first.mountpoint, second.mountpoint],
        freezeMode: 'explicit',
        newProvider: () => providerByName('reflink'),
        stored: () => privateDirectories(on.mountpoint),
      };
    },
  };
}

const btrfsWorld: WorldKind = {
  provider: 'btrfs',
  title: 'btrfs: two subvolumes, one nested in the other',
  needs: ['root', 'loop', 'btrfs'],
  async make(disks) {
    const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
    const nested = path.join(mountpoint, 'nested');
    await must('btrfs', 'subvolume', 'create', nested);
    return {
      mountpoints: [mountpoint, nested],
      freezeMode: 'atomic',
      newProvider: () => providerByName('btrfs'),
      stored: () => privateDirectories(mountpoint, nested),
    };
  },
};

/** The commands of the array in `test/fixtures`, which keeps its snapshots in `store`. */
export function arrayCommands(store: string): Required<SnapshotCommands> {
  return {
    create: [ARRAY, store, 'create', '--device={device}', '{name}'],
    expose: [ARRAY, store, 'expose', '{name}', '{directory}'],
    unexpose: [ARRAY, store, 'unexpose', '{directory}'],
    exists: [ARRAY, store, 'exists', '{name}'],
    remove: [ARRAY, store, 'remove', '{name}'],
  };
}

const commandWorld: WorldKind = {
  provider: 'command',
  title: 'command: a storage array as a program',
  needs: ['root', 'loop', 'xfs', 'ext4'],
  async make(disks) {
    const on = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
    const first = await disks.filesystem({ fstype: 'ext4', on });
    const second = await disks.filesystem({ fstype: 'ext4', on });
    const store = path.join(on.mountpoint, 'store');
    await mkdir(store);
    return {
      mountpoints: [first.mountpoint, second.mountpoint],
      freezeMode: 'explicit',
      newProvider: () => providerByName('command', arrayCommands(store)),
      stored: async () => (await readdir(store)).filter((name) => name !== 'log'),
    };
  },
};

export const WORLD_KINDS: readonly WorldKind[] = [
  reflinkWorld('xfs', 'ext4'),
  reflinkWorld('xfs', 'xfs'),
  reflinkWorld('btrfs', 'ext4'),
  btrfsWorld,
  commandWorld,
];

/** The files below `directory` that this process has open. */
export async function openFilesBelow(directory: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return links.filter((link) => link.startsWith(`${directory}/`));
}
