import { IS_IN_GUEST } from '../../support/in-guest.js';
import { HOST_WORLDS } from '../worlds/host-worlds.js';
import type { World, WorldParts } from '../worlds/world.js';
import { CGROUP_FAULTS } from './cgroup-faults.js';
import type { DrawableWorld } from './draw.js';
import type { Fault } from './fault.js';
import { labEnvironment } from './lab-environment.js';
import type { Pace } from './one-run.js';
import { SIGNAL_FAULTS } from './signal-faults.js';
import { STORAGE_FAULTS } from './storage-faults.js';

/** Where a campaign runs: its stacks, and what can go wrong there. */
export interface ChaosEnvironment {
  name: string;
  worlds: readonly (DrawableWorld & { make: (parts: WorldParts) => Promise<World> })[];
  faults: readonly Fault[];
  pace: Pace;
  /** As `WorldParts` has it. */
  loadSlower?: number;
}

function hostWorld(name: string): ChaosEnvironment['worlds'][number] {
  const make = HOST_WORLDS[name];
  if (make === undefined) throw new Error(`no world ${name}`);
  const isBtrfs = name === 'btrfs-snapshot';
  const isCommand = name.endsWith('-command');
  return {
    name,
    make,
    provider: isBtrfs ? 'btrfs' : isCommand ? 'command' : 'reflink',
    freezes: !isBtrfs,
    hasSnapshotProgram: isBtrfs || isCommand,
  };
}

export const ENVIRONMENTS: Readonly<Record<string, ChaosEnvironment>> = {
  host: {
    name: 'host',
    worlds: Object.keys(HOST_WORLDS).map(hostWorld),
    faults: [...SIGNAL_FAULTS, ...CGROUP_FAULTS, ...STORAGE_FAULTS],
    pace: { timeoutMs: 2000, runMs: 900, boundaryMs: 250 },
  },
  ...(IS_IN_GUEST ? { lab: labEnvironment() } : {}),
};
