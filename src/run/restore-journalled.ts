import { targetOf } from '../backup-target.js';
import { asRestoreErrors } from '../copy/copy-error.js';
import { engineFor } from '../copy/engines.js';
import { withReportedStep } from '../copy/reported-step.js';
import { restoreBackup, type RestoreOptions, type RestoreReport } from '../copy/restore/restore-backup.js';
import { restoreImage } from '../copy/restore/restore-image.js';
import type { Reporter } from '../report/reporter.js';
import { withRestoreJournal, type RestoreHost } from './restore-journal.js';

/** What of a backup is to be restored, and where to. */
export interface JournalledRestore extends Pick<
  RestoreOptions,
  'backup' | 'doubt' | 'to' | 'paths' | 'signal'
> {
  job: string;
  /** Write back the whole filesystem of an image. */
  isImage: boolean;
  reporter: Reporter;
  /** Told of what dead restores left and could not be removed. */
  warn: (message: string) => void;
}

/** Restores a backup, what it makes on the way being journalled, and what goes on told to the reporter. */
export async function restoreJournalled(
  { job, backup, doubt, to, paths, isImage, reporter, warn, signal }: JournalledRestore,
  host: RestoreHost,
): Promise<RestoreReport> {
  const restore = isImage ? restoreImage : restoreBackup;
  const report = await withRestoreJournal(job, host, warn, (journal) =>
    restore({
      backup,
      doubt,
      to,
      paths,
      engine: engineFor({ ...targetOf(backup), engine: backup.manifest.engine }),
      journal,
      signal,
      onProgress: (progress) => reporter.progress(progress),
      asStep: (work) => {
        reporter.jobStarted(`${job}@${backup.backupId}`);
        return withReportedStep(reporter, 'restore', () => asRestoreErrors(work));
      },
    }),
  );
  reporter.workFinished(report);
  return report;
}
