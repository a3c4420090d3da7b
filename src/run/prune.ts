import type { KeepRules } from '../config/types.js';
import type { BackupTarget } from '../backup-target.js';
import { readVerifications } from '../copy/verify/verify-history.js';
import { locksForRecovery, type LockWait } from '../journal/lock.js';
import { applyRetention, judgeRetention, type RetentionResult } from '../retention/apply.js';
import { ReleaseStack } from './release-stack.js';
import { recoveryWarnings, type RunHost } from './run-job.js';
import { takeLocks } from './take-locks.js';

/** The backups of one job in one target, and which of them to keep. */
export interface PruneTask {
  target: BackupTarget;
  job: string;
  /** Undefined: only what is kept of broken-off copies is looked at. */
  rules: KeepRules | undefined;
  /** As `RetentionRequest.withInterrupted`. */
  withInterrupted?: boolean | undefined;
}

export type PruneHost = Pick<RunHost, 'locks' | 'recover' | 'openJournal' | 'makeRunId'>;

export interface PruneOptions {
  lockWaitMs: number;
  signal: AbortSignal;
  warn: (message: string) => void;
  onWait?: LockWait['onWait'];
}

/** What `prune` would do, without a lock and without doing it. */
export async function previewPrune(tasks: readonly PruneTask[], now: Date): Promise<RetentionResult[]> {
  const verifications = await readVerifications(
    tasks.map(({ job }) => job),
    tasks.map(({ target }) => target),
  );
  return await Promise.all(tasks.map((task) => judgeRetention({ ...task, now, verifications })));
}

/**
 * Removes what no rule keeps: locks, recovers (which ends removals that were killed), removes. Goes on past a backup
 * that cannot be removed, which its result names. Rejects with `locked`, or with the signal's reason.
 */
export async function prune(
  tasks: readonly PruneTask[],
  host: PruneHost,
  { lockWaitMs, signal, warn, onWait }: PruneOptions,
): Promise<RetentionResult[]> {
  const results: RetentionResult[] = [];
  for (const job of new Set(tasks.map((task) => task.job))) {
    const own = tasks.filter((task) => task.job === job);
    const runId = host.makeRunId();
    const locks = host.locks(runId);
    const stack = new ReleaseStack();
    try {
      const targets = own.map(({ target }) => target);
      await takeLocks({ job, targets }, locks, stack, { waitMs: lockWaitMs, signal, onWait });
      for (const message of recoveryWarnings(await host.recover(locksForRecovery(locks, job), signal)))
        warn(message);
      const verifications = await readVerifications([job], targets);
      const journal = host.openJournal(job, runId);
      for (const task of own) {
        const request = { ...task, now: new Date(), verifications };
        results.push(await applyRetention(request, { journal, signal }));
      }
    } finally {
      for (const { what } of await stack.releaseAll()) warn(`${what} could not be released`);
    }
  }
  return results;
}
