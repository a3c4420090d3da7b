import { messageOf } from '../../errors.js';
import { exitCode, worstExitCode } from '../../exit-codes.js';
import type { Reporter } from '../../report/reporter.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { CopyProgress } from '../engine.js';
import { engineFor, type EngineFor } from '../engines.js';
import { targetOf, type BackupTarget } from '../../backup-target.js';
import { Looks } from './look-at-chain.js';
import { withReportedStep } from '../reported-step.js';
import { placeOfTarget } from '../target/target-place.js';
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

/** Looks at backups one after the other, as steps that a reporter shows, and records each in the history. */
export async function verifyEach(
  backups: readonly CompleteBackup[],
  step: string,
  reporter: Reporter,
  examine: Examine,
): Promise<VerifyReport[]> {
  const reports: VerifyReport[] = [];
  for (const backup of backups) {
    reporter.jobStarted(`${backup.job}@${backup.backupId}`);
    const examined = await withReportedStep(reporter, step, () =>
      examine(backup, (progress) => reporter.progress(progress)),
    );
    const report = await kept(examined, targetOf(backup), reporter);
    reporter.workFinished(report);
    reports.push(report);
  }
  return reports;
}

/** Verifies backups where they are. What is read of others that they need goes into the history of those. */
export async function verifyBackups(
  backups: readonly CompleteBackup[],
  options: { mode: 'quick' | 'full'; signal: AbortSignal; reporter: Reporter },
  engines: EngineFor = engineFor,
): Promise<VerifyReport[]> {
  const { mode, signal, reporter } = options;
  const looks = new Looks();
  return await verifyEach(backups, `verify (${mode})`, reporter, async (backup, onProgress) => {
    const engine = engines({ ...targetOf(backup), engine: backup.manifest.engine });
    const { report, needed } = await verifyBackup({ backup, mode, engine, signal, onProgress }, looks);
    // What is bad in a backup that others need is bad for all of them, and not only for the one that was asked for.
    for (const one of needed) await kept(one, targetOf(backup), reporter);
    return report;
  });
}
