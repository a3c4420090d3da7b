import { adviceOf, FsbackupError, messageOf } from '../errors.js';
import type { JournalEntry } from './entry.js';
import type { FoundEntry } from './journal.js';
import { frozenThing, type RecoverReport } from './recover-report.js';

/** The snapshots that programs of a dead process may still be making. */
export interface SnapshotMakers {
  owner: Pick<JournalEntry, 'pid' | 'startTime'>;
  snapshots: readonly { name: string; mountpoint: string }[];
}

/** What ends the programs of dead processes. */
export interface ProgramEnders {
  bootId: string;
  /** Ends the children of a dead process that use any of these directories. */
  endOrphans: (
    owner: Pick<JournalEntry, 'pid' | 'startTime'>,
    directories: readonly string[],
  ) => Promise<void>;
  /**
   * Ends the command that brings an application to rest for this entry, or awaits it. Resolves to why the application
   * cannot be let go yet, a clause.
   */
  endHook: (entry: Extract<JournalEntry, { kind: 'quiesce' }>) => Promise<string | undefined>;
  /**
   * Ends the programs that make these snapshots, or awaits them. Resolves to why one cannot be released yet, by name: a
   * clause.
   */
  endMakers: (makers: SnapshotMakers) => Promise<ReadonlyMap<string, string>>;
}

/** What a copy program of the dead run would have open. */
function directoryOf(entry: JournalEntry): string[] {
  if (entry.kind === 'exposure') return [entry.payload.path];
  if (entry.kind === 'drill' || entry.kind === 'staging') return [entry.payload.directory];
  if (entry.kind === 'restore-links') return [entry.payload.destination];
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
export async function endCopies(
  entries: readonly FoundEntry[],
  { bootId, endOrphans }: ProgramEnders,
): Promise<void> {
  for (const run of runsOf(entries, bootId)) {
    const directories = run.flatMap(directoryOf);
    if (directories.length > 0) await endOrphans(run[0], directories);
  }
}

/**
 * What brings an application to rest after we let it go, nobody would know of. Rejects with why it cannot be let go. Where
 * the command is known to have ended well, what it left running is what it was to leave.
 */
export async function endQuiescing(
  entry: Extract<JournalEntry, { kind: 'quiesce' }>,
  { endHook }: ProgramEnders,
): Promise<void> {
  if (entry.payload.isAtRest === true) return;
  const reason = await endHook(entry);
  if (reason !== undefined) throw new Error(reason);
}

/**
 * What a program that outlived its run makes after we looked, nobody would know of. Resolves to why a snapshot cannot be
 * released, by name. One that was exposed is made: what bears its name since then serves it, and is left alone.
 */
export async function endMaking(
  entries: readonly FoundEntry[],
  report: RecoverReport,
  { bootId, endMakers }: ProgramEnders,
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
      report.failed.push({ ...frozenThing(mountpoints.join(', ')), message: adviceOf(error) });
    }
  }
  return inTheWay;
}
