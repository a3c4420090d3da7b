import { messageOf } from '../errors.js';
import type { Reporter } from '../report/reporter.js';
import type { CompleteBackup } from './backup-list.js';
import { engineFor, type EngineFor } from './engines.js';
import { targetOf } from '../backup-target.js';
import { withReportedStep } from './reported-step.js';
import { verifyBackup, verifyRecord, type VerifyReport } from './verify-backup.js';
import { recordVerification } from './verify-history.js';

/** Verifies backups one after the other, as steps that a reporter shows, and records each in the history. */
export async function verifyBackups(
  backups: readonly CompleteBackup[],
  options: { mode: 'quick' | 'full'; signal: AbortSignal; reporter: Reporter },
  engines: EngineFor = engineFor,
): Promise<VerifyReport[]> {
  const { mode, signal, reporter } = options;
  const reports: VerifyReport[] = [];
  for (const backup of backups) {
    reporter.jobStarted(`${backup.job}@${backup.backupId}`);
    const report = await withReportedStep(reporter, `verify (${mode})`, () =>
      verifyBackup({
        backup,
        mode,
        engine: engines({ ...targetOf(backup), engine: backup.manifest.engine }),
        signal,
        onProgress: (progress) => reporter.progress(progress),
      }),
    );
    try {
      await recordVerification(verifyRecord(report));
    } catch (error) {
      reporter.warn(`the verification is not in the history: ${messageOf(error)}`);
    }
    reports.push(report);
  }
  return reports;
}
