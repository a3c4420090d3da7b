import { readdir, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { exitCode, worstExitCode } from '../exit-codes.js';
import { isWithin } from '../system/mountinfo.js';
import type { FreezeRecovery } from '../freeze/recover-freezes.js';
import { describeEntry } from './describe-entry.js';
import { removeDurably, TEMPORARY_SUFFIX } from './durable-file.js';
import type { JournalEntry, Payload } from './entry.js';
import { readJournal, type FoundEntry, type JournalDirectories, type UnreadableEntry } from './journal.js';
import type { Lock } from './lock.js';

/** Releases what an entry names. Each is idempotent and resolves for what is not there any more. */
export interface Releasers {
  quiesce(entry: Extract<JournalEntry, { kind: 'quiesce' }>): Promise<void>;
  exposure(entry: Extract<JournalEntry, { kind: 'exposure' }>): Promise<void>;
  poolMetadata(entry: Extract<JournalEntry, { kind: 'pool-metadata' }>): Promise<void>;
  snapshot(entry: Extract<JournalEntry, { kind: 'snapshot' }>): Promise<void>;
  /** Whether a snapshot is there and still holds what was taken. */
  isIntact(entry: Extract<JournalEntry, { kind: 'snapshot' }>): Promise<boolean>;
  /** With `mayKeep` what the job's next run can go on from stays for it: returns where. */
  backup(
    entry: Extract<JournalEntry, { kind: 'backup' }>,
    options: { mayKeep: boolean },
  ): Promise<string | undefined>;
  drill(entry: Extract<JournalEntry, { kind: 'drill' }>): Promise<void>;
  staging(entry: Extract<JournalEntry, { kind: 'staging' }>): Promise<void>;
  scratchPool(entry: Extract<JournalEntry, { kind: 'scratch-pool' }>): Promise<void>;
  /** Ends it when anything is gone already; else the backup is whole and stays. */
  removal(entry: Extract<JournalEntry, { kind: 'removal' }>): Promise<void>;
}

/** The snapshots that programs of a dead process may still be making. */
export interface SnapshotMakers {
  owner: Pick<JournalEntry, 'pid' | 'startTime'>;
  snapshots: readonly { name: string; mountpoint: string }[];
}

export interface RecoverDependencies {
  directories: JournalDirectories;
  bootId: string;
  /** Thaws what is frozen without a guard. */
  recoverFreezes: () => Promise<FreezeRecovery>;
  releasers: Releasers;
  /** Ends the children of a dead process that use any of these directories. */
  endOrphans: (
    owner: Pick<JournalEntry, 'pid' | 'startTime'>,
    directories: readonly string[],
  ) => Promise<void>;
  /**
   * Ends the programs that make these snapshots, or awaits them. Resolves to why one cannot be released yet, by name: a
   * clause.
   */
  endMakers: (makers: SnapshotMakers) => Promise<ReadonlyMap<string, string>>;
  /** Takes the job's lock: undefined when a living run holds it, and its entries are then left alone. */
  lockJob: (job: string) => Promise<Lock | undefined>;
}

/** What became of one thing. */
export interface RecoveredThing {
  kind: JournalEntry['kind'] | 'freeze' | 'served-mount';
  /** Names it to people. */
  what: string;
  job: string | null;
  runId: string | null;
}

/** What `recover` did. Plain data. */
export interface RecoverReport {
  version: 1;
  released: (RecoveredThing & {
    /** Of an incomplete backup: the directory in which it is kept for the next run to go on from; absent: it is gone. */
    keptIn?: string;
  })[];
  /** Still held, or perhaps so. */
  failed: (RecoveredThing & { message: string })[];
  /** Of living runs. */
  leftAlone: RecoveredThing[];
  /** Journal files that this version does not understand: left as they are. */
  unreadable: UnreadableEntry[];
}

/** Temporary files so old belong to no write that is going on. */
const STALE_MS = 60 * 60 * 1000;

function describe({ entry }: FoundEntry): RecoveredThing {
  return { kind: entry.kind, what: describeEntry(entry), job: entry.job, runId: entry.runId };
}

/** Nothing goes on from a copy of a snapshot that was lost: what was read of it may be anything. */
async function areIntact(
  entries: readonly FoundEntry[],
  runId: string,
  releasers: Releasers,
): Promise<boolean> {
  for (const { entry } of entries) {
    if (entry.kind === 'snapshot' && entry.runId === runId && !(await releasers.isIntact(entry)))
      return false;
  }
  return true;
}

/** Returns where what it names is kept, if it is. */
async function releaseEntry(
  entry: JournalEntry,
  { releasers, bootId }: RecoverDependencies,
  entries: readonly FoundEntry[],
): Promise<string | undefined> {
  switch (entry.kind) {
    case 'quiesce':
      // No application is at rest across a reboot.
      if (entry.bootId === bootId) await releasers.quiesce(entry);
      break;
    case 'exposure':
      // A mount of another boot is gone, and its name may be another's by now.
      if (entry.bootId === bootId) await releasers.exposure(entry);
      break;
    case 'pool-metadata':
      await releasers.poolMetadata(entry);
      break;
    case 'snapshot':
      await releasers.snapshot(entry);
      break;
    case 'backup':
      return await releasers.backup(entry, {
        mayKeep: await areIntact(entries, entry.runId, releasers),
      });
    case 'drill':
      await releasers.drill(entry);
      break;
    case 'staging':
      await releasers.staging(entry);
      break;
    case 'scratch-pool':
      await releasers.scratchPool(entry);
      break;
    case 'removal':
      await releasers.removal(entry);
      break;
  }
  return undefined;
}

function freeze(what: string): RecoveredThing {
  return { kind: 'freeze', what, job: null, runId: null };
}

async function recoverFrozen(report: RecoverReport, { recoverFreezes }: RecoverDependencies): Promise<void> {
  try {
    const { recovered, failures } = await recoverFreezes();
    for (const { mountpoint, outcome } of recovered) {
      if (outcome === 'thawed') report.released.push(freeze(mountpoint));
    }
    for (const message of failures) report.failed.push({ ...freeze('a filesystem'), message });
  } catch (error) {
    report.failed.push({ ...freeze('what was frozen'), message: messageOf(error) });
  }
}

/** The reverse of the order in which a run acquires. */
const ORDER: readonly JournalEntry['kind'][] = [
  'quiesce',
  'scratch-pool',
  'staging',
  'drill',
  'pool-metadata',
  'removal',
  'backup',
  'exposure',
  'snapshot',
];

/** What a copy program of the dead run would have open. */
function directoryOf(entry: JournalEntry): string[] {
  if (entry.kind === 'exposure') return [entry.payload.path];
  if (entry.kind === 'drill' || entry.kind === 'staging') return [entry.payload.directory];
  return entry.kind === 'backup' || entry.kind === 'removal' ? [entry.payload.target] : [];
}

/** Those of this boot, by run: no program of another boot lives. */
function runsOf(entries: readonly FoundEntry[], bootId: string): [JournalEntry, ...JournalEntry[]][] {
  const runs = new Map<string, [JournalEntry, ...JournalEntry[]]>();
  for (const { entry } of entries) {
    if (entry.bootId !== bootId) continue;
    const known = runs.get(entry.runId);
    if (known === undefined) runs.set(entry.runId, [entry]);
    else known.push(entry);
  }
  return [...runs.values()];
}

/** Nothing can be unmounted or discarded while a copy program that outlived its run still works in it. */
async function endCopies(
  entries: readonly FoundEntry[],
  { bootId, endOrphans }: RecoverDependencies,
): Promise<void> {
  for (const run of runsOf(entries, bootId)) {
    const directories = run.flatMap(directoryOf);
    if (directories.length > 0) await endOrphans(run[0], directories);
  }
}

/**
 * What a program that outlived its run makes after we looked, nobody would know of. Resolves to why a snapshot cannot be
 * released, by name. One that was exposed is made: what bears its name since then serves it, and is left alone.
 */
async function endMaking(
  entries: readonly FoundEntry[],
  report: RecoverReport,
  { bootId, endMakers }: RecoverDependencies,
): Promise<Map<string, string>> {
  const inTheWay = new Map<string, string>();
  for (const run of runsOf(entries, bootId)) {
    const made = new Set(
      run.flatMap((entry) => (entry.kind === 'exposure' ? [entry.payload.snapshot.name] : [])),
    );
    const snapshots = run.flatMap((entry) =>
      entry.kind === 'snapshot' && !made.has(entry.payload.name) ? [entry.payload] : [],
    );
    if (snapshots.length === 0) continue;
    try {
      for (const [name, reason] of await endMakers({ owner: run[0], snapshots })) inTheWay.set(name, reason);
    } catch (error) {
      for (const { name } of snapshots) inTheWay.set(name, messageOf(error));
      if (!(error instanceof FsbackupError) || error.code !== 'thawFailed') continue;
      const mountpoints = [...new Set(snapshots.map(({ mountpoint }) => mountpoint))];
      report.failed.push({ ...freeze(mountpoints.join(', ')), message: `${error.message}. ${error.hint}` });
    }
  }
  return inTheWay;
}

/** A file that is in use by the kernel goes from its directory, and its room does not come back. */
function poolWithin(entry: JournalEntry, pools: readonly Payload<'scratch-pool'>[]): string | undefined {
  if (entry.kind !== 'drill' && entry.kind !== 'staging') return undefined;
  const { directory } = entry.payload;
  const pool = pools.find(({ file }) => isWithin(file, directory));
  return pool === undefined ? undefined : `the pool ${pool.pool} lies in it`;
}

async function recoverJob(
  entries: readonly FoundEntry[],
  report: RecoverReport,
  dependencies: RecoverDependencies,
): Promise<void> {
  await endCopies(entries, dependencies);
  const inTheWay = new Map<string, string>();
  const pools: Payload<'scratch-pool'>[] = [];
  for (const kind of ORDER) {
    // Not before: applications that are at rest do not wait for it.
    if (kind === 'snapshot')
      for (const [name, reason] of await endMaking(entries, report, dependencies)) inTheWay.set(name, reason);
    for (const found of entries.filter(({ entry }) => entry.kind === kind)) {
      const { entry } = found;
      const thing = describe(found);
      try {
        const reason =
          entry.kind === 'snapshot' ? inTheWay.get(entry.payload.name) : poolWithin(entry, pools);
        if (reason !== undefined) throw new Error(reason);
        const keptIn = await releaseEntry(entry, dependencies, entries);
        await removeDurably(found.file);
        report.released.push({ ...thing, ...(keptIn === undefined ? {} : { keptIn }) });
      } catch (error) {
        if (entry.kind === 'exposure') inTheWay.set(entry.payload.snapshot.name, 'it is still mounted');
        if (entry.kind === 'scratch-pool') pools.push(entry.payload);
        report.failed.push({ ...thing, message: messageOf(error) });
      }
    }
  }
}

/** An intent whose writing a crash cut short: nothing was done on its account. */
async function dropStaleTemporaries({ durable, volatile }: JournalDirectories): Promise<void> {
  for (const directory of [durable, volatile]) {
    const names = await readdir(directory).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    });
    for (const name of names.filter((one) => one.endsWith(TEMPORARY_SUFFIX))) {
      const file = path.join(directory, name);
      try {
        if (Date.now() - (await stat(file)).mtimeMs > STALE_MS) await unlink(file);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    }
  }
}

/** What `recover` exits with: 22 when something may still be frozen, 60 when anything else is or may be held. */
export function recoverExitCode({ failed, unreadable }: RecoverReport): number {
  return worstExitCode([
    ...failed.map(({ kind }) => exitCode(kind === 'freeze' ? 'thawFailed' : 'cleanupIncomplete')),
    ...unreadable.map(() => exitCode('cleanupIncomplete')),
  ]);
}

/** Of the owners that `isMeant` knows: takes the lock of each, and releases what it left. */
async function recoverJournal(
  report: RecoverReport,
  dependencies: RecoverDependencies,
  isMeant: (owner: string) => boolean,
): Promise<void> {
  const { entries, unreadable } = await readJournal(dependencies.directories);
  report.unreadable.push(...unreadable);
  for (const job of new Set(entries.map(({ entry }) => entry.job).filter(isMeant))) {
    const lock = await dependencies.lockJob(job);
    const own = entries.filter(({ entry }) => entry.job === job);
    if (lock === undefined) {
      report.leftAlone.push(...own.map(describe));
      continue;
    }
    try {
      // Read again: what the owner released between our reading and its end is not ours to release once more.
      const current = await readJournal(dependencies.directories);
      await recoverJob(
        current.entries.filter(({ entry }) => entry.job === job),
        report,
        dependencies,
      );
    } finally {
      await lock.release();
    }
  }
}

function emptyReport(): RecoverReport {
  return { version: 1, released: [], failed: [], leftAlone: [], unreadable: [] };
}

/**
 * Releases what dead runs left: freezes first, then what the journal proves that they made. Leaves alone what belongs
 * to a job whose lock is held. Goes on past failures, which it reports; idempotent: a second call finds only what the
 * first could not release.
 */
export async function recover(dependencies: RecoverDependencies): Promise<RecoverReport> {
  const report = emptyReport();
  await recoverFrozen(report, dependencies);
  await recoverJournal(report, dependencies, () => true);
  await dropStaleTemporaries(dependencies.directories);
  return report;
}

/** As `recover`, of these owners alone, and of nothing that is frozen: for who must not wait for the rest. */
export async function recoverOwners(
  isMeant: (owner: string) => boolean,
  dependencies: RecoverDependencies,
): Promise<RecoverReport> {
  const report = emptyReport();
  await recoverJournal(report, dependencies, isMeant);
  return report;
}
