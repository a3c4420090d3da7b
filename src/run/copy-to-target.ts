import path from 'node:path';
import { isRetryable, MAX_UNREADABLE } from '../copy/copy-error.js';
import type { CopySource } from '../copy/engine.js';
import { originsOf } from '../copy/backup/tree-origins.js';
import { sendableBy } from '../engine-names.js';
import { FsbackupError, messageOf } from '../errors.js';
import { targetName } from '../backup-target.js';
import type { Plan, PlannedTarget } from '../plan/plan.js';
import type { CopyReport, RunReport } from '../report/run-report.js';
import { snapshotExcludes } from '../snapshots/private-directory.js';
import type { Consistency, SnapshotRef } from '../snapshots/provider.js';
import type { RunContext } from './context.js';
import { findBase, keepBases } from './keep-bases.js';
import { warnOfDoubt } from './doubtful-parent.js';
import { noteOtherOrigins } from './other-origins.js';
import { retry } from './retry.js';
import { faultPoint } from '../system/fault-point.js';

/** One target's part of a run. */
export interface CopyTask {
  target: PlannedTarget;
  sources: readonly CopySource[];
  /** Versions of what the engine uses. */
  tools: Readonly<Record<string, string>>;
  /** What the snapshots reached. */
  consistency: Consistency;
  /** What the manifest tells of the run: `copy` is this backup's own part. */
  reportWith: (copy: CopyReport) => RunReport;
  /** Rejects when what was read is not to be trusted. */
  checkIntact: () => Promise<void>;
}

/** Where each tree is read, by index of the plan's sources: in its exposed snapshot, or live. */
export function copySources(
  plan: Plan,
  exposed: ReadonlyMap<number, string>,
  snapshots: ReadonlyMap<number, SnapshotRef>,
): CopySource[] {
  return plan.trees.map((tree) => {
    const root = exposed.get(tree.source);
    // A tree whose snapshot is missing must never be read live in its place.
    if (root === undefined && plan.sources[tree.source]?.provider !== 'none') {
      throw new Error(`the snapshot of ${tree.path} is not exposed`);
    }
    // Our own snapshots, of this and other jobs, are no part of what is backed up.
    const exclude = [...tree.exclude, ...snapshotExcludes(plan.sources[tree.source]?.fstype ?? '')];
    const snapshot = snapshots.get(tree.source);
    return {
      path: tree.path,
      readFrom: path.join(root ?? '/', tree.inside),
      exclude,
      ...(snapshot === undefined ? {} : { snapshot }),
    };
  });
}

/** The trees that are read where they live, without a snapshot. */
export function liveSources(plan: Plan): CopySource[] {
  const isLive = ({ source }: Plan['trees'][number]): boolean => plan.sources[source]?.provider === 'none';
  return copySources({ ...plan, trees: plan.trees.filter(isLive) }, new Map(), new Map());
}

/** What an engine could not remove on its way lies in the backup, which is discarded as a whole: the copy failed. */
function asCopyFailure(error: unknown): unknown {
  if (!(error instanceof FsbackupError) || error.code !== 'cleanupIncomplete') return error;
  return new FsbackupError('copyFailed', error.message, { hint: error.hint, cause: error });
}

/**
 * Writes one backup, its manifest last. Rejects with the engine's or the target's error once what was begun is
 * discarded again, or is left to the journal with a warning: a target that is gone cannot be tidied up. After an
 * interrupt it stays on the stack, to be discarded at the end.
 */
export async function copyToTarget(
  task: CopyTask,
  context: RunContext,
): Promise<{ copy: CopyReport; unreadable: readonly string[] }> {
  const { plan, runId, dependencies, stack, signal } = context;
  const { backups, journal, timeline } = dependencies;
  const { target, sources, tools } = task;
  const name = { target, job: plan.job, backupId: runId };
  const shown = targetName(target);
  const startedAt = timeline.now();

  const storage = backups.storage(name);
  const entry = await journal.record('backup', {
    target: target.path,
    engine: target.engine,
    job: plan.job,
    backupId: runId,
    ...(target.repository === undefined ? {} : { repository: shown }),
    ...(storage === undefined ? {} : { storage }),
  });
  let mayKeep = false;
  const held = stack.push(`the incomplete backup ${runId} in ${shown}`, async () => {
    const keptIn = await backups.discardIncomplete(name, { mayKeep, storage });
    await entry.remove();
    if (keptIn !== undefined)
      context.note(`what was copied to ${shown} is kept for the next run to go on from: ${keptIn}`);
  });
  try {
    faultPoint('copy.intended');
    const space = await backups.begin(name);
    faultPoint('copy.begun');
    for (const warning of space.warnings ?? []) context.warn(warning);
    const engine = dependencies.engine(target);
    const base = sendableBy(target.engine) === undefined ? undefined : await findBase(target, context);
    const isParentDoubtful = await warnOfDoubt(target, space.parentBackupId, context);
    if (!isParentDoubtful) noteOtherOrigins(target, sources, space, context);
    const result = await retry(
      () =>
        engine.copy({
          ...space,
          backup: { job: plan.job, backupId: runId },
          consistency: task.consistency,
          sources,
          ...(base === undefined ? {} : { base }),
          isParentDoubtful,
          limitBytesPerSecond: target.limitBytesPerSecond,
          journal,
          signal,
          onProgress: (progress) => timeline.reporter.progress(progress),
        }),
      { attempts: plan.attempts, delayMs: dependencies.retryDelayMs, isRetryable, signal },
    );
    faultPoint('copy.copied');
    for (const warning of result.warnings ?? []) context.warn(warning);
    // A snapshot that was lost meanwhile may have been read without an error.
    await task.checkIntact();
    const copy: CopyReport = {
      target: shown,
      engine: target.engine,
      backupId: runId,
      bytes: result.bytes,
      files: result.files,
      durationMs: timeline.now() - startedAt,
      ...(target.limitBytesPerSecond === undefined
        ? {}
        : { limitBytesPerSecond: target.limitBytesPerSecond }),
    };
    await backups.complete(name, {
      report: task.reportWith(copy),
      files: result.files,
      bytes: result.bytes,
      tools,
      sources: sources.map((source) => source.path),
      origins: originsOf(sources),
      unreadable: result.unreadable,
      digests: result.digests,
      needs: result.needs,
    });
    faultPoint('copy.completed');
    held.keep();
    await entry.remove();
    try {
      await keepBases(target, result.keep, context);
    } catch (error) {
      // The backup is complete and good all the same.
      context.warn(`the next backup in ${shown} will be a full one: ${messageOf(error)}`);
    }
    return { copy, unreadable: result.unreadable };
  } catch (error) {
    // What was read of a snapshot that was lost meanwhile is nothing to go on from.
    mayKeep = await task.checkIntact().then(
      () => true,
      () => false,
    );
    await held.release().catch((cause: unknown) => {
      if (signal.aborted) return;
      // As often as not the target itself is gone. The journal has it: it is removed once that is there again.
      held.keep();
      context.warn(
        `what was begun in ${shown} is not removed yet: ${messageOf(cause)}; the next run tries again, or \`fsbackup recover\``,
      );
    });
    throw asCopyFailure(error);
  }
}

/** The error of a copy that left out what could not be read. */
export function partialCopyError(target: PlannedTarget, unreadable: readonly string[]): FsbackupError {
  const shown = unreadable.slice(0, 3).join(', ');
  // No more are named, however many there are.
  const least = unreadable.length >= MAX_UNREADABLE ? 'at least ' : '';
  const more = unreadable.length > 3 ? `, and ${least}${unreadable.length - 3} more` : '';
  return new FsbackupError(
    'copyPartial',
    `the backup in ${targetName(target)} lacks what could not be read: ${shown}${more}`,
    { hint: 'See why these files cannot be read (a damaged disk, permissions), or exclude them.' },
  );
}
