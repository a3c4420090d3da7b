import { isJobName } from '../copy/backup/backup-layout.js';
import { messageOf } from '../errors.js';
import type { Journal } from '../journal/journal.js';
import { jobLockName, locksForRecovery, tryAcquireLock, type Lock } from '../journal/lock.js';
import type { RecoverReport } from '../journal/recover-report.js';
import { recoveryWarnings, type RunHost } from './run-job.js';

/** This host, as a restore sees it. */
export interface RestoreHost extends Pick<RunHost, 'locks' | 'openJournal' | 'makeRunId'> {
  /** Releases what these owners left, as far as `lockJob` gets their locks. */
  recoverOwners: (
    isMeant: (owner: string) => boolean,
    lockJob: (owner: string) => Promise<Lock | undefined>,
  ) => Promise<RecoverReport>;
}

const SUFFIX = /^(.+)@restore(?:-\d+)?$/;

/** Owns what the nth restore of a job at one time has in the journal: no job has such a name. */
function restoreOwner(job: string, nth: number): string {
  return nth === 1 ? `${job}@restore` : `${job}@restore-${nth}`;
}

function isRestoreOwner(owner: string): boolean {
  return isJobName(SUFFIX.exec(owner)?.[1] ?? '');
}

/** The first owner that no restore which lives has. Any number of restores of a job may go on at one time. */
async function takeOwner(
  job: string,
  locks: Parameters<typeof tryAcquireLock>[1],
): Promise<{ owner: string; lock: Lock }> {
  for (let nth = 1; ; nth += 1) {
    const owner = restoreOwner(job, nth);
    const lock = await tryAcquireLock(jobLockName(owner), locks);
    if (lock !== undefined) return { owner, lock };
  }
}

/**
 * Runs a restore of a job with a journal for what it makes on the way. First removes what restores that are dead left;
 * of runs it recovers nothing: somebody waits for their data. Where there can be no journal, the restore goes on all the
 * same, and fails only when it wants to record something.
 */
export async function withRestoreJournal<T>(
  job: string,
  host: RestoreHost,
  warn: (message: string) => void,
  work: (journal: Journal) => Promise<T>,
): Promise<T> {
  const runId = host.makeRunId();
  const locks = host.locks(runId);
  let taken: { owner: string; lock: Lock };
  try {
    taken = await takeOwner(job, locks);
  } catch (error) {
    return await work({ record: () => Promise.reject(error) });
  }
  const { owner, lock } = taken;
  try {
    try {
      for (const message of recoveryWarnings(
        await host.recoverOwners(isRestoreOwner, locksForRecovery(locks, owner)),
      ))
        warn(message);
    } catch (error) {
      warn(`what dead restores left could not be looked for: ${messageOf(error)}`);
    }
    return await work(host.openJournal(owner, runId));
  } finally {
    await lock.release();
  }
}
