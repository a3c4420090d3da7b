import { targetName, targetOf } from '../../backup-target.js';
import { toErrorReport } from '../../report/error-report.js';
import type { ErrorReport } from '../../report/run-report.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { NotFound } from './asked-backups.js';
import type { VerifyReport } from './verify-backup.js';

/** What stands in `backups verify --json` in the place of a report, of what could not be looked at: stable. */
export interface Unverified {
  /** Null: it was found in none. */
  target: string | null;
  job: string;
  /** Null: none was found. */
  backupId: string | null;
  mode: VerifyReport['mode'];
  /** That of the error. */
  exitCode: number;
  error: ErrorReport;
}

/** What `backups verify` tells of each backup that was asked for. */
export type VerifyEntry = VerifyReport | Unverified;

export function unverified(
  one: CompleteBackup | NotFound,
  mode: VerifyReport['mode'],
  why: unknown,
): Unverified {
  const error = toErrorReport(why);
  const isFound = 'backupId' in one;
  return {
    target: isFound ? targetName(targetOf(one)) : one.target,
    job: one.job,
    backupId: isFound ? one.backupId : null,
    mode,
    exitCode: error.exitCode,
    error,
  };
}
