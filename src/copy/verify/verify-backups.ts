import { messageOf } from '../../errors.js';
import { exitCode, worstExitCode } from '../../exit-codes.js';
import type { Reporter } from '../../report/reporter.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { CopyProgress } from '../engine.js';
import { engineFor, type EngineFor } from '../engines.js';
import { targetOf, type BackupTarget } from '../../backup-target.js';
import type { NotFound } from './asked-backups.js';
import { Looks } from './look-at-chain.js';
import { withReportedStep } from '../reported-step.js';
import { placeOfTarget } from '../target/target-place.js';
import { unverified, type VerifyEntry } from './unverified.js';
import { verifyBackup, verifyRecord, type VerifyReport } from './verify-backup.js';
import { recordVerification } from './verify-history.js';

/** Looks at one backup. */
export type Examine = (
  backup: CompleteBackup,
  onProgress: (progress: CopyProgress) => void,
) => Promise<VerifyReport>;

/**
 * Records a verification. What is not in the history is not known to the next run, nor to `backups list`: a warning, and
 * nothing that ends as done.
 */
async function kept(report: VerifyReport, target: BackupTarget, reporter: Reporter): Promise<VerifyReport> {
  try {
    const place = await placeOfTarget(target);
    await recordVerification({ ...verifyRecord(report), ...(place === undefined ? {} : { place }) });
    return report;
  } catch (error) {
    reporter.warn(`the verification is not in the history: ${messageOf(error)}`);
    return { ...report, exitCode: worstExitCode([report.exitCode, exitCode('warnings')]) };
  }
}

/** Who is told, and what ends it all. */
export interface VerifyEachOptions {
  mode: VerifyReport['mode'];
  /** What it is called while it goes on. */
  step: string;
  signal: AbortSignal;
  reporter: Reporter;
}

/** Rejects when a backup could not be looked at. */
async function verifyOne(
  backup: CompleteBackup,
  { step, reporter }: VerifyEachOptions,
  examine: Examine,
): Promise<VerifyReport> {
  const examined = await withReportedStep(reporter, step, () =>
    examine(backup, (progress) => reporter.progress(progress)),
  );
  return await kept(examined, targetOf(backup), reporter);
}

/**
 * Looks at backups one after the other, as steps that a reporter shows, and records each in the history. One that is not found,
 * or cannot be looked at, is told in its place, is no verdict and so not recorded, and stands in no other's way; a signal ends
 * it all. One alone: rejects as that did.
 */
export async function verifyEach(
  asked: AsyncIterable<CompleteBackup | NotFound>,
  options: VerifyEachOptions,
  examine: Examine,
): Promise<VerifyEntry[]> {
  const { mode, reporter, signal } = options;
  const entries: VerifyEntry[] = [];
  const errors: unknown[] = [];
  for await (const one of asked) {
    reporter.jobStarted('backupId' in one ? `${one.job}@${one.backupId}` : one.job);
    try {
      if ('error' in one) await withReportedStep(reporter, 'find', () => Promise.reject(one.error));
      else {
        const report = await verifyOne(one, options, examine);
        reporter.workFinished(report);
        entries.push(report);
      }
    } catch (error) {
      errors.push(error);
      const entry = unverified(one, mode, error);
      reporter.workFinished({ ...entry, outcome: 'failed' });
      entries.push(entry);
    }
    if (signal.aborted) break;
  }
  if (entries.length === 1 && errors.length === 1) throw errors[0];
  return entries;
}

/** Verifies backups where they are, as `verifyEach`. What is read of others that they need goes into the history of those. */
export async function verifyBackups(
  asked: AsyncIterable<CompleteBackup | NotFound>,
  options: { mode: 'quick' | 'full'; signal: AbortSignal; reporter: Reporter },
  engines: EngineFor = engineFor,
): Promise<VerifyEntry[]> {
  const { mode, signal, reporter } = options;
  const looks = new Looks();
  return await verifyEach(asked, { ...options, step: `verify (${mode})` }, async (backup, onProgress) => {
    const engine = engines({ ...targetOf(backup), engine: backup.manifest.engine });
    const { report, needed } = await verifyBackup({ backup, mode, engine, signal, onProgress }, looks);
    // What is bad in a backup that others need is bad for all of them, and not only for the one that was asked for.
    for (const one of needed) await kept(one, targetOf(backup), reporter);
    return report;
  });
}
