import { LabPool } from '../../support/lab-pool.js';
import { labGuest } from '../../support/lab.js';
import { LabVolumeGroup } from '../../support/lvm-lab.js';
import { breakingWorld } from '../worlds/breaking-world.js';
import { lvmWorld, zfsWorld, type LvmStack } from '../worlds/lab-worlds.js';
import { CGROUP_FAULTS } from './cgroup-faults.js';
import { DISK_FAULTS } from './disk-faults.js';
import type { ChaosEnvironment } from './environments.js';
import { LAB_FAULTS } from './lab-faults.js';
import { SIGNAL_FAULTS } from './signal-faults.js';
import { STORAGE_FAULTS } from './storage-faults.js';

type LabWorld = ChaosEnvironment['worlds'][number];

/** Far more than the load changes during a run, and far less than `COW space full` does. */
const SNAPSHOT_SIZE = '32MiB';

function onLvm(stack: LvmStack, disks: readonly string[]): LabWorld {
  const isMirror = stack === 'mirror';
  return {
    name: `lvm-${stack}`,
    provider: isMirror ? 'mirror' : 'lvm',
    freezes: isMirror,
    hasSnapshotProgram: true,
    make: async (parts) => await lvmWorld(stack, parts, await LabVolumeGroup.make(`chaos-${stack}`, disks)),
  };
}

function onBreakingDisk(disk: string): LabWorld {
  return {
    name: 'lvm-classic',
    provider: 'lvm',
    freezes: false,
    hasSnapshotProgram: true,
    hasSwitchableDisks: true,
    make: async (parts) => await breakingWorld(parts, disk, { lvm: { size: SNAPSHOT_SIZE } }),
  };
}

/** What the guest has, each on disks of its own. None of it is undone: a guest is new each time. */
export function labEnvironment(): ChaosEnvironment {
  const { name, disks, zfs, kernel } = labGuest();
  const [first = ''] = disks;
  const worlds = [onBreakingDisk(first), onLvm('thin', disks.slice(1, 2))];
  if (zfs)
    worlds.push({
      name: 'zfs-dataset',
      provider: 'zfs',
      freezes: false,
      hasSnapshotProgram: true,
      make: async (parts) => await zfsWorld(parts, await LabPool.make('chaos', disks.slice(2, 3))),
    });
  else if (kernel !== 'refuses') worlds.push(onLvm('mirror', disks.slice(2, 4)));
  return {
    name: `guest ${name}`,
    worlds,
    faults: [...SIGNAL_FAULTS, ...CGROUP_FAULTS, ...STORAGE_FAULTS, ...LAB_FAULTS, ...DISK_FAULTS],
    pace: { timeoutMs: 60_000, runMs: 10_000, boundaryMs: 2000 },
    loadSlower: 25,
  };
}
