import { AbsentStorageError, adviceOf, asSentence } from '../errors.js';
import { shellCommand } from '../system/command-line.js';
import { isWithin } from '../system/mountinfo.js';
import { removeDurably } from './durable-file.js';
import { endCopies, endMaking, endQuiescing, type ProgramEnders } from './end-programs.js';
import type { JournalEntry, Payload } from './entry.js';
import { mayForget } from './forget.js';
import type { FoundEntry } from './journal.js';
import { describeThing, type RecoverReport } from './recover-report.js';

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
  restoreLinks(entry: Extract<JournalEntry, { kind: 'restore-links' }>): Promise<void>;
  scratchPool(entry: Extract<JournalEntry, { kind: 'scratch-pool' }>): Promise<void>;
  /** Ends it when anything is gone already; else the backup is whole and stays. */
  removal(entry: Extract<JournalEntry, { kind: 'removal' }>): Promise<void>;
}

/** What releases what entries name. */
export interface ReleaseDependencies extends ProgramEnders {
  releasers: Releasers;
  /** The run of which may be forgotten what lies on storage that is gone. */
  forget?: string;
  /** The run whose applications go on, as somebody says who looked: those that cannot be let go are forgotten. */
  goesOn?: string;
  /** When aborted, nothing more is begun: what is left stays in the journal. */
  signal?: AbortSignal;
}

/** The `after` of an application failed; what brought it to rest has ended. */
class AtRestError extends Error {
  constructor(cause: unknown) {
    super(adviceOf(cause), { cause });
  }
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
  dependencies: ReleaseDependencies,
  entries: readonly FoundEntry[],
): Promise<string | undefined> {
  const { releasers, bootId } = dependencies;
  switch (entry.kind) {
    case 'quiesce':
      // No program of another boot lives.
      if (entry.bootId === bootId) await endQuiescing(entry, dependencies);
      try {
        await releasers.quiesce(entry);
      } catch (cause) {
        throw new AtRestError(cause);
      }
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
    case 'restore-links':
      await releasers.restoreLinks(entry);
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

/** The reverse of the order in which a run acquires. */
const ORDER: readonly JournalEntry['kind'][] = [
  'quiesce',
  'scratch-pool',
  'restore-links',
  'staging',
  'drill',
  'pool-metadata',
  'removal',
  'backup',
  'exposure',
  'snapshot',
];

/** A file that is in use by the kernel goes from its directory, and its room does not come back. */
function poolWithin(entry: JournalEntry, pools: readonly Payload<'scratch-pool'>[]): string | undefined {
  if (entry.kind !== 'drill' && entry.kind !== 'staging') return undefined;
  const { directory } = entry.payload;
  const pool = pools.find(({ file }) => isWithin(file, directory));
  return pool === undefined ? undefined : `the pool ${pool.pool} lies in it`;
}

/** Notes in the report that an entry could not be released, or forgets it where that is asked for and may be. */
async function fail(
  { entry, file }: FoundEntry,
  error: unknown,
  report: RecoverReport,
  { forget, goesOn }: ReleaseDependencies,
): Promise<void> {
  const thing = describeThing(entry);
  const message = adviceOf(error);
  if (entry.kind === 'quiesce' && error instanceof AtRestError) {
    if (goesOn === entry.runId) {
      await removeDurably(file);
      const left = shellCommand(entry.payload.after);
      report.forgotten = [...(report.forgotten ?? []), { ...thing, left }];
      return;
    }
    const way = `Once it goes on, by whatever means: fsbackup recover --goes-on ${entry.runId}`;
    report.failed.push({ ...thing, message: `${asSentence(message)} ${way}` });
    return;
  }
  if (forget !== entry.runId) {
    const way = `If that is gone for good: fsbackup recover --forget ${entry.runId}`;
    const isAbsent = error instanceof AbsentStorageError;
    report.failed.push({ ...thing, message: isAbsent ? `${asSentence(message)} ${way}` : message });
    return;
  }
  try {
    const forgetting = await mayForget(entry, error, report);
    if ('refused' in forgetting) throw new Error(`It is not forgotten, since ${forgetting.refused}`);
    await removeDurably(file);
    report.forgotten = [...(report.forgotten ?? []), { ...thing, left: forgetting.left }];
  } catch (refusal) {
    report.failed.push({ ...thing, message: `${asSentence(message)} ${adviceOf(refusal)}` });
  }
}

/**
 * Releases what the entries of one job, or of another owner whose lock is held, name, and removes them. Goes on past failures,
 * which are in the report. Rejects with the signal's reason when that is aborted.
 */
export async function releaseEntries(
  entries: readonly FoundEntry[],
  report: RecoverReport,
  dependencies: ReleaseDependencies,
): Promise<void> {
  await endCopies(entries, dependencies);
  const inTheWay = new Map<string, string>();
  const pools: Payload<'scratch-pool'>[] = [];
  for (const kind of ORDER) {
    dependencies.signal?.throwIfAborted();
    // Not before: applications that are at rest do not wait for it.
    if (kind === 'snapshot')
      for (const [name, reason] of await endMaking(entries, report, dependencies)) inTheWay.set(name, reason);
    for (const found of entries.filter(({ entry }) => entry.kind === kind)) {
      dependencies.signal?.throwIfAborted();
      const { entry } = found;
      const thing = describeThing(entry);
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
        await fail(found, error, report, dependencies);
      }
    }
  }
}
