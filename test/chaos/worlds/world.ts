import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { must, type ThrowawayDisks, type ThrowawayFilesystem } from '../../support/throwaway-filesystem.js';
import { Load } from '../load/load.js';
import type { SwitchableDisk } from './switchable-disk.js';

/** What a world is made from. */
export interface WorldParts {
  disks: ThrowawayDisks;
  /** The compiled `load.c`. */
  loadProgram: string;
  /** How many times as long it waits between what it does; 1 when left out. */
  loadSlower?: number | undefined;
}

/** Something whose existence after a run is a leftover of ours. */
export type FindLeft = () => Promise<string[]>;

/** What is there and was not when this was called, and the other way round: what others have there is to stay. */
export async function changesOf(state: () => Promise<string[]>): Promise<FindLeft> {
  const before = await state();
  return async () => {
    const now = await state();
    return [
      ...now.filter((line) => !before.includes(line)),
      ...before.filter((line) => !now.includes(line)).map((line) => `MISSING: ${line}`),
    ];
  };
}

/** A filesystem under load, and a job that backs it up. */
export interface World {
  name: string;
  mountpoint: string;
  load: Load;
  /** The same load, never frozen, on the storage that the other lies on: how long writers wait there anyway. */
  control: Load;
  /** The job's `sources`, as the configuration has them. */
  source: Readonly<Record<string, unknown>>;
  /** The provider's names of fault points begin so. */
  provider: string;
  /** Whether a run holds it frozen by itself, and whoever stops then loses the freeze. */
  freezes: boolean;
  /** Of its backups, where that is not drawn: a world may be there for what one engine does. */
  engine?: string;
  /** Where backups go: a filesystem of its own. */
  target: ThrowawayFilesystem;
  /** Where a run keeps its state. */
  directory: string;
  /** What of the provider's is there now. */
  findLeft: FindLeft;
  /** Takes the number of seconds that the snapshot program is to wait before it does anything, where it can. */
  pauseFile?: string;
  /** The program that takes the snapshot, as it is called in `ps`; undefined where fsbackup does it by itself. */
  snapshotProgram: string | undefined;
  /** What the origin and the filesystem beside it lie on, and what the target lies on; where they can be switched. */
  switchable?: { storage: SwitchableDisk; target: SwitchableDisk };
  /** Repairs its filesystems after their storage failed, as an administrator would, and starts its loads anew. */
  repair?: () => Promise<void>;
  /** The same for its target. */
  repairTarget?: () => Promise<void>;
  /** Fills up what its snapshots share with others; resolves to how that is undone. Only where there is such a thing. */
  fillStorage?: () => Promise<() => Promise<void>>;
}

/** The job of a world that is about to be run. */
export interface JobShape {
  engine: string;
  attempts: number;
  timeoutMs: number;
  maxHoldMs: number;
}

export const JOB = 'chaos';

/** Where the state of a world's runs lies. */
export function environmentOf(world: Pick<World, 'directory'>): Record<string, string> {
  return {
    FSBACKUP_RUN_DIR: path.join(world.directory, 'run'),
    FSBACKUP_STATE_DIR: path.join(world.directory, 'state'),
    NO_COLOR: '1',
  };
}

/** Writes the configuration of a world's job; resolves to its path. */
export async function writeConfig(world: World, shape: JobShape): Promise<string> {
  const file = path.join(world.directory, 'config.yaml');
  const config = {
    version: 1,
    freeze: { timeout: `${shape.timeoutMs}ms`, maxHold: `${shape.maxHoldMs}ms` },
    attempts: shape.attempts,
    jobs: {
      [JOB]: {
        sources: [world.source],
        targets: [{ path: world.target.mountpoint, engine: shape.engine }],
        keep: { last: 2 },
        quiesce: [{ name: 'application', before: ['true'], after: ['true'] }],
      },
    },
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

/** What a world has besides its snapshots. */
export type CommonParts = Pick<World, 'name' | 'mountpoint' | 'load' | 'control' | 'target' | 'directory'>;

/** What every world on the host has besides its origin. */
export async function commonParts(
  name: string,
  parts: WorldParts,
  origin: ThrowawayFilesystem,
  storage?: ThrowawayFilesystem,
): Promise<CommonParts> {
  const on = storage === undefined ? {} : { on: storage };
  const { fstype, mountpoint } = origin;
  const beside = await parts.disks.filesystem({ fstype, name: `${name}-control`, ...on });
  return await partsBeside(name, parts, { mountpoint, beside: beside.mountpoint });
}

/** The same for a filesystem that is there, and one on the same storage, `beside`, that nobody freezes. */
export async function partsBeside(
  name: string,
  { disks, loadProgram, loadSlower }: WorldParts,
  { mountpoint, beside }: { mountpoint: string; beside: string },
): Promise<CommonParts> {
  const target = await disks.filesystem({ fstype: 'ext4', name: `${name}-target`, sizeMiB: 128 });
  const directory = path.join(disks.directory, `${name}-state`);
  await mkdir(directory, { mode: 0o700 });
  // As /run is one: small, so that it can be filled.
  await mkdir(path.join(directory, 'run'), { mode: 0o700 });
  await must('mount', '-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'chaos', path.join(directory, 'run'));
  return {
    name,
    mountpoint,
    load: new Load(loadProgram, mountpoint, loadSlower),
    control: new Load(loadProgram, beside, loadSlower),
    target,
    directory,
  };
}
