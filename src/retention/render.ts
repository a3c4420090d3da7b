import { asLines } from '../report/controls.js';
import type { RetentionResult } from './apply.js';

/** One backup in `backups prune --json`: stable. */
export interface PrunedBackup {
  backupId: string;
  state: 'complete' | 'incomplete' | 'damaged';
  action: 'keep' | 'remove';
  reasons: string[];
  /** Why it is not good, by itself or by what it needs; null: it is, or is not complete. */
  flaw: string | null;
}

/** What is kept of a broken-off copy, in `backups prune --json`: stable. */
export interface PrunedInterrupted {
  backupId: string;
  host: string;
  directory: string;
  startedAt: string;
  action: 'keep' | 'remove';
  reason: string;
}

/** What `backups prune --json` prints of one job in one target: stable. */
export interface PruneReport {
  target: string;
  job: string;
  backups: PrunedBackup[];
  /** Empty with `--dry-run`. May hold one that is not in `backups`: an earlier removal that was cut short. */
  removed: string[];
  failed: { backupId: string; message: string }[];
  interrupted: PrunedInterrupted[];
}

/** The result as the JSON has it. */
export function pruneReport({
  target,
  job,
  verdicts,
  removed,
  failed,
  interrupted,
}: RetentionResult): PruneReport {
  const backups = verdicts.map(({ backupId, state, action, reasons, flaw }) => ({
    backupId,
    state,
    action,
    reasons,
    flaw: flaw ?? null,
  }));
  return {
    target,
    job,
    backups,
    removed,
    failed,
    interrupted: interrupted.map(({ backup: { backupId, host, directory, startedAt }, action, reason }) => ({
      backupId,
      host,
      directory,
      startedAt,
      action,
      reason,
    })),
  };
}

/** What is said of one of those that are judged. */
interface Judged {
  backupId: string;
  action: 'keep' | 'remove';
  why: string;
}

function judgedOnes({ verdicts, interrupted }: RetentionResult): Judged[] {
  return [
    ...verdicts.map(({ backupId, action, reasons, flaw }) => ({
      backupId,
      action,
      why: [reasons.join(', '), ...(flaw === undefined ? [] : [`not good: ${flaw}`])].join('; '),
    })),
    ...interrupted.map(({ backup: { backupId }, action, reason }) => ({
      backupId,
      action,
      why: `broken off: ${reason}`,
    })),
  ];
}

function line(result: RetentionResult, { backupId, action, why }: Judged, dryRun: boolean): string {
  const failure = result.failed.find((one) => one.backupId === backupId);
  const word =
    action === 'keep'
      ? 'keep'
      : failure !== undefined
        ? 'FAILED'
        : dryRun || !result.removed.includes(backupId)
          ? 'remove'
          : 'removed';
  return `  ${word.padEnd(7)}  ${result.job}@${backupId}  ${failure?.message ?? why}`;
}

function section(result: RetentionResult, dryRun: boolean): string {
  const all = judgedOnes(result);
  const others = [...result.removed, ...result.failed.map(({ backupId }) => backupId)].filter(
    (id) => !all.some(({ backupId }) => backupId === id),
  );
  const kept = all.filter(({ action }) => action === 'keep').length;
  const gone = dryRun ? `${all.length - kept} would be removed` : `${result.removed.length} removed`;
  return asLines([
    result.target,
    ...all.map((one) => line(result, one, dryRun)),
    ...others.map((id) => {
      const failure = result.failed.find(({ backupId }) => backupId === id);
      return failure === undefined
        ? `  removed  ${result.job}@${id}  an earlier removal was cut short`
        : `  FAILED   ${result.job}@${id}  ${failure.message}`;
    }),
    `${result.job}: ${kept} kept, ${gone}${result.failed.length > 0 ? `, ${result.failed.length} failed` : ''}`,
  ]);
}

/** What stays and why, and what went: for people. */
export function renderPrune(results: readonly RetentionResult[], dryRun: boolean): string {
  if (results.length === 0) return 'Nothing to prune.';
  return results.map((result) => section(result, dryRun)).join('\n\n');
}
