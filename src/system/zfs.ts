import { describeFailure, type CommandResult } from './run-command.js';
import { runAtMost } from './run-at-most.js';
import { shellWord } from './command-line.js';

/** A dataset of ZFS under a filesystem. */
export interface ZfsVolume {
  /** `tank/srv`; of a mounted snapshot, `tank/srv@monday`. May hold spaces. */
  dataset: string;
  /** The dataset itself is mounted, or another filesystem lies on its block device. */
  kind: 'filesystem' | 'volume';
  /** The number of the zvol's partition that the filesystem lies on; absent where it lies on the whole. */
  partition?: number;
  /** Why it cannot be snapshotted. */
  problem?: ZfsProblem;
}

/** Why something of ZFS cannot be snapshotted: a clause, and a sentence on what to do. */
export interface ZfsProblem {
  reason: string;
  hint: string;
}

/** A pool as `zpool list` tells of it. */
export interface ZfsPool {
  name: string;
  /** zpoolconcepts(7): `ONLINE`, `DEGRADED`, `FAULTED`, `UNAVAIL`, …; `SUSPENDED` when it waits for its disks. */
  health: string;
  isReadOnly: boolean;
}

/** A pool that is well answers in some ten milliseconds; one that is not may never. */
const ZFS_TIMEOUT_MS = 30_000;

/** Runs `zfs` or `zpool`, never longer than `timeoutMs` and some seconds. */
export async function runZfs(
  argv: readonly ['zfs' | 'zpool', ...string[]],
  timeoutMs = ZFS_TIMEOUT_MS,
): Promise<CommandResult> {
  return await runAtMost(argv, { timeoutMs });
}

/** How a program of ZFS ended; of several lines it says what is wrong in the first. */
export function describeZfsFailure(program: string, result: CommandResult): string {
  const [said = ''] = result.stderr.trim().split('\n');
  return describeFailure(program, { ...result, stderr: said });
}

/** The rows of a command run with `-H`: fields are parted by a tab, since a name may hold spaces. */
export function parseRows(output: string): string[][] {
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

/** The pool that a dataset, snapshot or clone lies in. */
export function poolOf(name: string): string {
  return name.split(/[/@]/, 1)[0] ?? name;
}

/** Parses `zpool list -H -p -o name,health,readonly` of one pool; undefined for anything else. */
export function parsePool(output: string): ZfsPool | undefined {
  const [[name, health, readonly] = []] = parseRows(output);
  if (name === undefined || health === undefined) return undefined;
  return { name, health, isReadOnly: readonly === 'on' };
}

/** The pool of that name, or why it cannot be told of. Answered from memory, also for a suspended one. */
export async function readPool(name: string): Promise<ZfsPool | ZfsProblem> {
  const result = await runZfs(['zpool', 'list', '-H', '-p', '-o', 'name,health,readonly', name]);
  if (result.notFound) {
    return {
      reason: 'zpool is not installed',
      hint: 'Install the programs of ZFS: zfsutils-linux in Debian and Ubuntu, zfs elsewhere.',
    };
  }
  const pool = result.exitCode === 0 ? parsePool(result.stdout) : undefined;
  if (pool !== undefined) return pool;
  return {
    reason: `its pool ${name} cannot be looked at: ${describeZfsFailure('zpool', result)}`,
    hint: `See what this says: zpool status ${shellWord(name)}. An exported pool is brought back by: zpool import ${shellWord(name)}`,
  };
}

/** Those in which a pool reads and writes; in all others a program waits for a disk to come back. */
const WORKING: ReadonlySet<string> = new Set(['ONLINE', 'DEGRADED']);

/** Why a pool can be neither read nor written; undefined when it can. Pure. */
export function refusePool(pool: ZfsPool | ZfsProblem): ZfsProblem | undefined {
  if ('reason' in pool) return pool;
  if (WORKING.has(pool.health)) return undefined;
  return {
    reason: `its pool ${pool.name} is ${pool.health}`,
    hint: `See zpool status ${shellWord(pool.name)}, bring back what it lacks, then: zpool clear ${shellWord(pool.name)}`,
  };
}
