import { messageOf } from '../errors.js';
import type { Reporter } from '../report/reporter.js';
import type { CompleteBackup } from './backup-list.js';
import type { CopyProgress } from './engine.js';
import { engineFor, type EngineFor } from './engines.js';
import { targetOf } from '../backup-target.js';
import { withReportedStep } from './reported-step.js';
import { verifyBackup, verifyRecord, type VerifyReport } from './verify-backup.js';
import { recordVerification } from './verify-history.js';

/** Looks at one backup. */
export type Examine = (
  backup: CompleteBackup,
  onProgress: (progress: CopyProgress) => void,
) => Promise<VerifyReport>;

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
    const report = await withReportedStep(reporter, step, () =>
      examine(backup, (progress) => reporter.progress(progress)),
    );
    try {
      await recordVerification(verifyRecord(report));
    } catch (error) {
      reporter.warn(`the verification is not in the history: ${messageOf(error)}`);
    }
    reporter.workFinished(report);
    reports.push(report);
  }
  return reports;
}

/** Verifies backups where they are. */
export async function verifyBackups(
  backups: readonly CompleteBackup[],
  options: { mode: 'quick' | 'full'; signal: AbortSignal; reporter: Reporter },
  engines: EngineFor = engineFor,
): Promise<VerifyReport[]> {
  const { mode, signal, reporter } = options;
  return await verifyEach(backups, `verify (${mode})`, reporter, (backup, onProgress) => {
    const engine = engines({ ...targetOf(backup), engine: backup.manifest.engine });
    return verifyBackup({ backup, mode, engine, signal, onProgress });
  });
}
