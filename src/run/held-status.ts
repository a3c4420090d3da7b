import path from 'node:path';
import type { JournalEntry } from '../journal/entry.js';
import { journalDirectories, readJournal, type JournalContents } from '../journal/journal.js';
import { readJobLockHolders, type JobLockHolder } from '../journal/lock-holders.js';
import { describeThing, type RecoveredThing } from '../journal/recover-report.js';
import { runDirectory } from '../system/directories.js';
import { isRunning, readProcessIdentity } from '../system/process-identity.js';

/** A command that has the lock of a job, a restore (`srv@restore`) or a drill (`srv@drill`): stable. */
export interface RunningStatus extends Omit<JobLockHolder, 'command'> {
  /** The arguments of its command line; null where they are not known. */
  command: string | null;
  /** What it holds at this moment. */
  holds: Pick<RecoveredThing, 'kind' | 'what'>[];
}

/** What is held, or may be, and whose process is gone: killed, or ended with exit 60. Stable. */
export interface LeftStatus extends Omit<RecoveredThing, 'kind'> {
  /** `unreadable`: a file of the journal that this version does not understand. */
  kind: RecoveredThing['kind'] | 'unreadable';
  /** When it was about to be acquired, RFC 3339; null where the journal does not tell. */
  since: string | null;
}

export interface HeldStatus {
  running: RunningStatus[];
  /** Applications first. */
  leftBehind: LeftStatus[];
}

/** Who has the journal's things: somebody whose process lives, or nobody. Pure. */
export function heldStatus(
  { entries, unreadable }: JournalContents,
  holders: readonly JobLockHolder[],
  isAlive: (owner: JournalEntry) => boolean,
): HeldStatus {
  const running = new Map<string, RunningStatus>(
    holders.map((holder) => [`${holder.job} ${holder.runId}`, { ...holder, holds: [] }]),
  );
  const leftBehind: LeftStatus[] = [];
  for (const { entry } of entries) {
    const thing = describeThing(entry);
    if (!isAlive(entry)) {
      leftBehind.push({ ...thing, since: entry.createdAt });
      continue;
    }
    const { job, runId, pid, createdAt } = entry;
    const key = `${job} ${runId}`;
    const owner = running.get(key) ?? { job, runId, pid, command: null, since: createdAt, holds: [] };
    owner.holds.push({ kind: thing.kind, what: thing.what });
    running.set(key, owner);
  }
  const unknown = unreadable.map(({ file, reason }): LeftStatus => {
    return { kind: 'unreadable', what: `${file}: ${reason}`, job: null, runId: null, since: null };
  });
  const isAtRest = ({ kind }: LeftStatus): boolean => kind === 'quiesce';
  return {
    running: [...running.values()],
    leftBehind: [
      ...leftBehind.filter(isAtRest),
      ...leftBehind.filter((thing) => !isAtRest(thing)),
      ...unknown,
    ],
  };
}

/** What runs hold and what dead ones left, on this host: by journal, lock files and /proc, never by a probe. */
export async function readHeldStatus(): Promise<HeldStatus> {
  const { bootId } = await readProcessIdentity();
  const contents = await readJournal(journalDirectories());
  const holders = await readJobLockHolders(path.join(runDirectory(), 'locks'));
  return heldStatus(contents, holders, (owner) => owner.bootId === bootId && isRunning(owner));
}
