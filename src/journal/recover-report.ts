import { exitCode, worstExitCode } from '../exit-codes.js';
import { describeEntry } from './describe-entry.js';
import type { JournalEntry } from './entry.js';
import type { UnreadableEntry } from './journal.js';

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
  /** Where something is to be forgotten: what is no longer looked after, and what is left of it. */
  forgotten?: (RecoveredThing & { left: string })[];
  /** Of living runs. */
  leftAlone: RecoveredThing[];
  /** Journal files that this version does not understand: left as they are. */
  unreadable: UnreadableEntry[];
}

/** What an entry names, for the report. Pure. */
export function describeThing(entry: JournalEntry): RecoveredThing {
  return { kind: entry.kind, what: describeEntry(entry), job: entry.job, runId: entry.runId };
}

/** A filesystem that is frozen, or may be. */
export function frozenThing(what: string): RecoveredThing {
  return { kind: 'freeze', what, job: null, runId: null };
}

/** That nothing was found. */
export function emptyReport(): RecoverReport {
  return { version: 1, released: [], failed: [], leftAlone: [], unreadable: [] };
}

/**
 * What `recover` exits with: 22 when something may still be frozen, 60 when anything else is or may be held, 11 when the
 * run that is to be forgotten lives.
 */
export function recoverExitCode({ failed, unreadable, leftAlone }: RecoverReport, forget?: string): number {
  const isLiving = forget !== undefined && leftAlone.some(({ runId }) => runId === forget);
  return worstExitCode([
    ...(isLiving ? [exitCode('locked')] : []),
    ...failed.map(({ kind }) => exitCode(kind === 'freeze' ? 'thawFailed' : 'cleanupIncomplete')),
    ...unreadable.map(() => exitCode('cleanupIncomplete')),
  ]);
}
