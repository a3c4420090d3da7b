import type { KeepRules } from '../config/types.js';
import { begunAt } from '../copy/backup/backup-layout.js';
import { describeFailed, doubtOf, failedClause } from '../copy/verify/doubtful-backups.js';
import { listJobBackups, type Backup } from '../copy/backup/backup-list.js';
import { listInterrupted, removeInterrupted } from '../copy/backup/interrupted-backup.js';
import { hostOf } from '../copy/backup/host-backups.js';
import type { Manifest } from '../copy/backup/manifest.js';
import { readMountPlaces, type MountPlaces } from '../copy/mount/mount-records.js';
import type { EngineFor } from '../copy/engines.js';
import type { Verifications } from '../copy/verify/verify-history.js';
import { sharedBy } from '../engine-names.js';
import { targetName, type BackupTarget } from '../backup-target.js';
import { messageOf } from '../errors.js';
import type { Journal } from '../journal/journal.js';
import { hostLabel } from '../system/host-label.js';
import { isSameHost, thisHost } from '../system/this-host.js';
import type { JudgedBackup } from './judged-backup.js';
import { judgeInterrupted, type JudgedInterrupted } from './interrupted.js';
import { judge, type Verdict } from './policy.js';
import { finishRemoval, listUnfinishedRemovals, removeBackup } from './remove-backup.js';

/** The backups of one job in one target, and what is wanted of them. */
export interface RetentionRequest {
  target: BackupTarget;
  job: string;
  /** Undefined: of its backups nothing is asked. */
  rules: KeepRules | undefined;
  /** Also to go is what is kept for the job's next run to go on from, whatever its age. */
  withInterrupted?: boolean | undefined;
  /** The id of the backup that the run made which asks: it stays, whatever clocks say of the others. */
  justMade?: string | undefined;
  now: Date;
  verifications: Verifications;
}

/** A verdict, and what the backup is. */
export interface JudgedListing extends Verdict {
  state: Backup['state'];
}

/** What became of the backups of one job in one target. */
export interface RetentionResult {
  /** As people know it. */
  target: string;
  job: string;
  /** The oldest first. */
  verdicts: JudgedListing[];
  removed: string[];
  /** Those that could not be removed, or not to their end. */
  failed: { backupId: string; message: string }[];
  /** What is kept of broken-off copies. */
  interrupted: JudgedInterrupted[];
}

/** Of a backup by itself: what it needs is the policy's to see. */
function qualityOf(backup: Backup, verifications: Verifications): Pick<JudgedBackup, 'quality' | 'flaw'> {
  if (backup.state !== 'complete') return { quality: 'poor' };
  const { unreadable, report } = backup.manifest;
  const verified = verifications.of(backup);
  if (verified?.outcome === 'failed') return { quality: 'poor', flaw: failedClause(verified) };
  if (unreadable.length > 0) return { quality: 'poor', flaw: 'lacks what could not be read' };
  const doubt = doubtOf(backup, [], verifications);
  if (doubt !== undefined)
    return { quality: 'warned', flaw: `may share what is bad: ${describeFailed(doubt)}` };
  return report.outcome === 'success'
    ? { quality: 'good' }
    : { quality: 'warned', flaw: 'was made with warnings' };
}

/** Whether increments are made among these: what cannot be read may be one of them. */
function hasIncrements(backups: readonly Backup[]): boolean {
  return backups.some((one) => one.state === 'complete' && sharedBy(one.manifest.engine) === 'increments');
}

function judgedHost(manifest: Manifest): JudgedBackup['host'] {
  const host = hostOf(manifest);
  return host === undefined ? undefined : { name: host.name, isThis: isSameHost(host, thisHost()) };
}

function judged(
  backup: Backup,
  {
    verifications,
    mountPlaces,
    unread,
  }: { verifications: Verifications; mountPlaces: MountPlaces; unread: JudgedBackup['needs'] },
): JudgedBackup {
  const time = begunAt(backup.backupId);
  return {
    backupId: backup.backupId,
    // Digits that are no date: it is kept, as all that lies in the future.
    time: Number.isNaN(time.getTime()) ? new Date(8.64e15) : time,
    state: backup.state,
    ...qualityOf(backup, verifications),
    needs: backup.state === 'complete' ? (backup.manifest.needs ?? []) : unread,
    host: backup.state === 'complete' ? judgedHost(backup.manifest) : undefined,
    mountedAt: mountPlaces(backup),
  };
}

/** Says what would be removed and why, without doing it. */
export async function judgeRetention(request: RetentionRequest): Promise<RetentionResult> {
  const { target, job, rules, now, verifications } = request;
  const backups = rules === undefined ? [] : await listJobBackups(target.path, job);
  const interrupted = (await listInterrupted(target.path)).filter((one) => one.job === job);
  const mountPlaces = await readMountPlaces([target.path]);
  const unread = hasIncrements(backups) ? 'unknown' : [];
  const verdicts = judge(
    backups.map((backup) => judged(backup, { verifications, mountPlaces, unread })),
    rules,
    now,
    request.justMade,
  );
  return {
    target: targetName(target),
    job,
    verdicts: verdicts.map((verdict, index) => ({
      ...verdict,
      state: backups[index]?.state ?? 'damaged',
    })),
    removed: [],
    failed: [],
    interrupted: judgeInterrupted(interrupted, {
      host: hostLabel(),
      now,
      isAsked: request.withInterrupted === true,
    }),
  };
}

/**
 * Removes what the rules do not keep, the oldest first, and what no run will go on from, and ends removals that were cut short. Goes on past a failure.
 * Whoever calls it holds the locks of job and target.
 */
export async function applyRetention(
  request: RetentionRequest,
  { journal, signal, engine }: { journal: Journal; signal: AbortSignal; engine?: EngineFor },
): Promise<RetentionResult> {
  const { path: target } = request.target;
  const { job } = request;
  const result = await judgeRetention(request);
  const attempt = async (backupId: string, removing: () => Promise<unknown>): Promise<void> => {
    signal.throwIfAborted();
    try {
      await removing();
      result.removed.push(backupId);
    } catch (error) {
      result.failed.push({ backupId, message: messageOf(error) });
    }
  };
  for (const ref of await listUnfinishedRemovals(target, job)) {
    await attempt(ref.backupId, () => finishRemoval(ref, engine));
  }
  for (const { backupId, action } of result.verdicts) {
    if (action === 'remove')
      await attempt(backupId, () => removeBackup({ target, job, backupId }, journal, engine));
  }
  for (const { action, backup } of result.interrupted) {
    if (action === 'remove') await attempt(backup.backupId, () => removeInterrupted(backup));
  }
  return result;
}
