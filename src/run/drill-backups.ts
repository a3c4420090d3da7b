import type { DrillConfig } from '../config/types.js';
import type { CompleteBackup } from '../copy/backup/backup-list.js';
import { drillBackup } from '../copy/verify/drill-backup.js';
import { engineFor } from '../copy/engines.js';
import { targetOf } from '../backup-target.js';
import type { NotFound } from '../copy/verify/asked-backups.js';
import type { VerifyEntry } from '../copy/verify/unverified.js';
import { verifyEach } from '../copy/verify/verify-backups.js';
import { acquireLock, jobLockName, locksForRecovery } from '../journal/lock.js';
import type { Reporter } from '../report/reporter.js';
import { endOrphans } from '../system/orphans.js';
import { readProcessIdentity } from '../system/process-identity.js';
import { recoveryWarnings, type RunHost } from './run-job.js';

export interface DrillBackupsOptions {
  /** How the backups of a job are tried. */
  settings: (job: string) => DrillConfig;
  signal: AbortSignal;
  reporter: Reporter;
}

/** Owns the drills of a job in journal and locks: no job has such a name, and a run need not wait for a drill. */
function drillOwner(job: string): string {
  return `${job}@drill`;
}

/**
 * Restores backups one after the other to try them, as `verifyEach`. One drill of a job at a time: one beside it is `locked`.
 * First releases what dead runs and drills left.
 */
export async function drillBackups(
  asked: AsyncIterable<CompleteBackup | NotFound>,
  host: Pick<RunHost, 'locks' | 'recover' | 'openJournal' | 'makeRunId'>,
  { settings, signal, reporter }: DrillBackupsOptions,
): Promise<VerifyEntry[]> {
  const identity = await readProcessIdentity();
  const options = { mode: 'drill', step: 'restore drill', signal, reporter } as const;
  return await verifyEach(asked, options, async (backup, onProgress) => {
    const runId = host.makeRunId();
    const owner = drillOwner(backup.job);
    const locks = host.locks(runId);
    const what = `the drill of ${backup.job}`;
    const lock = await acquireLock(jobLockName(owner), what, locks, { waitMs: undefined, signal });
    try {
      for (const message of recoveryWarnings(await host.recover(locksForRecovery(locks, owner), signal)))
        reporter.warn(message);
      return await drillBackup({
        backup,
        engine: engineFor({ ...targetOf(backup), engine: backup.manifest.engine }),
        settings: settings(backup.job),
        runId,
        journal: host.openJournal(owner, runId),
        endLeftovers: (directory) => endOrphans(identity, [directory]),
        signal,
        onProgress,
      });
    } finally {
      await lock.release();
    }
  });
}
