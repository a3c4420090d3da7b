import { withoutControls } from '../report/format.js';
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

/** What `backups prune --json` prints of one job in one target: stable. */
export interface PruneReport {
  target: string;
  job: string;
  backups: PrunedBackup[];
  /** Empty with `--dry-run`. May hold one that is not in `backups`: an earlier removal that was cut short. */
  removed: string[];
  failed: { backupId: string; message: string }[];
}

/** The result as the JSON has it. */
export function pruneReport({ target, job, verdicts, removed, failed }: RetentionResult): PruneReport {
  const backups = verdicts.map(({ backupId, state, action, reasons, flaw }) => ({
    backupId,
    state,
    action,
    reasons,
    flaw: flaw ?? null,
  }));
  return { target, job, backups, removed, failed };
}

function line(
  result: RetentionResult,
  { backupId, action, reasons, flaw }: RetentionResult['verdicts'][number],
  dryRun: boolean,
): string {
  const failure = result.failed.find((one) => one.backupId === backupId);
  const word =
    action === 'keep'
      ? 'keep'
      : failure !== undefined
        ? 'FAILED'
        : dryRun || !result.removed.includes(backupId)
          ? 'remove'
          : 'removed';
  const why = [reasons.join(', '), ...(flaw === undefined ? [] : [`not good: ${flaw}`])].join('; ');
  return `  ${word.padEnd(7)}  ${result.job}@${backupId}  ${failure?.message ?? why}`;
}

function section(result: RetentionResult, dryRun: boolean): string {
  const others = [...result.removed, ...result.failed.map(({ backupId }) => backupId)].filter(
    (id) => !result.verdicts.some(({ backupId }) => backupId === id),
  );
  const kept = result.verdicts.filter(({ action }) => action === 'keep').length;
  const gone = dryRun
    ? `${result.verdicts.length - kept} would be removed`
    : `${result.removed.length} removed`;
  return [
    result.target,
    ...result.verdicts.map((verdict) => line(result, verdict, dryRun)),
    ...others.map((id) => {
      const failure = result.failed.find(({ backupId }) => backupId === id);
      return failure === undefined
        ? `  removed  ${result.job}@${id}  an earlier removal was cut short`
        : `  FAILED   ${result.job}@${id}  ${failure.message}`;
    }),
    `${result.job}: ${kept} kept, ${gone}${result.failed.length > 0 ? `, ${result.failed.length} failed` : ''}`,
  ].join('\n');
}

/** What stays and why, and what went: for people. */
export function renderPrune(results: readonly RetentionResult[], dryRun: boolean): string {
  if (results.length === 0) return 'Nothing to prune.';
  return withoutControls(results.map((result) => section(result, dryRun)).join('\n\n'));
}
