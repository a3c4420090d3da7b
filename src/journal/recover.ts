import { readdir, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, messageOf } from '../errors.js';
import type { FreezeRecovery } from '../freeze/recover-freezes.js';
import { TEMPORARY_SUFFIX } from './durable-file.js';
import type { JournalEntry } from './entry.js';
import { readJournal, type FoundEntry, type JournalDirectories } from './journal.js';
import type { Lock } from './lock.js';
import { describeThing, emptyReport, frozenThing, type RecoverReport } from './recover-report.js';
import { releaseEntries, type ReleaseDependencies } from './release-entries.js';

export interface RecoverDependencies extends ReleaseDependencies {
  directories: JournalDirectories;
  /** Thaws what is frozen without a guard. */
  recoverFreezes: () => Promise<FreezeRecovery>;
  /** Takes the job's lock: undefined when a living run holds it, and its entries are then left alone. */
  lockJob: (job: string) => Promise<Lock | undefined>;
  /** Told of each dead run that left something, its owner's lock being held, before that is released. Never rejects. */
  noteDead?: (run: DeadRun) => Promise<void>;
}

/** A run whose process is gone, and which left something. */
export interface DeadRun {
  job: string;
  runId: string;
  /** When it was about to acquire the first of what it left, RFC 3339. */
  startedAt: string;
}

/** Whether only a run makes that: `prune` and `release` journal as well what they take away, under an id of their own. */
function isOfRun({ kind, payload, runId }: JournalEntry): boolean {
  if (kind === 'snapshot') return payload.name.includes(runId);
  return kind === 'quiesce' || kind === 'exposure' || kind === 'backup';
}

/** Those of entries of which the newest is the first. */
function runsOf(entries: readonly FoundEntry[]): DeadRun[] {
  const own = entries.filter(({ entry }) => isOfRun(entry));
  const runs = new Map(
    own.map(({ entry: { job, runId, createdAt } }) => [runId, { job, runId, startedAt: createdAt }]),
  );
  return [...runs.values()].toReversed();
}

/** Temporary files so old belong to no write that is going on. */
const STALE_MS = 60 * 60 * 1000;

async function recoverFrozen(report: RecoverReport, { recoverFreezes }: RecoverDependencies): Promise<void> {
  try {
    const { recovered, failures } = await recoverFreezes();
    for (const { mountpoint, outcome } of recovered) {
      if (outcome === 'thawed') report.released.push(frozenThing(mountpoint));
    }
    for (const message of failures) report.failed.push({ ...frozenThing('a filesystem'), message });
  } catch (error) {
    report.failed.push({ ...frozenThing('what was frozen'), message: messageOf(error) });
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

/** Of the owners that `isMeant` knows: takes the lock of each, and releases what it left. */
async function recoverJournal(
  report: RecoverReport,
  dependencies: RecoverDependencies,
  isMeant: (owner: string) => boolean,
): Promise<void> {
  const { entries, unreadable } = await readJournal(dependencies.directories);
  report.unreadable.push(...unreadable);
  const { signal } = dependencies;
  for (const job of new Set(entries.map(({ entry }) => entry.job).filter(isMeant))) {
    signal?.throwIfAborted();
    const lock = await dependencies.lockJob(job);
    const own = entries.filter(({ entry }) => entry.job === job);
    if (lock === undefined) {
      report.leftAlone.push(...own.map(({ entry }) => describeThing(entry)));
      continue;
    }
    try {
      // Read again: what the owner released between our reading and its end is not ours to release once more.
      const current = await readJournal(dependencies.directories);
      const left = current.entries.filter(({ entry }) => entry.job === job);
      for (const run of runsOf(left)) await dependencies.noteDead?.(run);
      await releaseEntries(left, report, dependencies);
    } finally {
      await lock.release();
    }
  }
}

/**
 * Releases what dead runs left: freezes first, then what the journal proves that they made. Leaves alone what belongs
 * to a job whose lock is held. Goes on past failures, which it reports; idempotent: a second call finds only what the
 * first could not release. Rejects with the signal's reason when that is aborted.
 */
export async function recover(dependencies: RecoverDependencies): Promise<RecoverReport> {
  const report: RecoverReport = {
    ...emptyReport(),
    ...(dependencies.forget === undefined && dependencies.goesOn === undefined ? {} : { forgotten: [] }),
  };
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
