import { messageOf } from '../errors.js';
import { targetName } from '../backup-target.js';
import type { PlannedTarget } from '../plan/plan.js';
import type { RetentionReport } from '../report/run-report.js';
import type { RetentionResult } from '../retention/apply.js';
import type { RunContext } from './context.js';
import { faultPoint } from '../system/fault-point.js';

function reported({ target, verdicts, removed, failed }: RetentionResult): RetentionReport {
  return {
    target,
    kept: verdicts.filter(({ action }) => action === 'keep').length,
    removed,
    failed: failed.map(({ backupId }) => backupId),
  };
}

/**
 * Applies the rules of those targets that got a backup which lacks nothing: one that does is no reason to take another
 * away. What fails is a warning, since the backup is good whatever becomes of old ones. Never rejects; an interrupt
 * leaves the rest to the next run.
 */
export async function retainAfterRun(
  targets: readonly PlannedTarget[],
  { plan, runId, dependencies, signal, warn }: RunContext,
): Promise<RetentionReport[]> {
  const reports: RetentionReport[] = [];
  for (const target of targets) {
    if (target.keep === undefined || signal.aborted) continue;
    try {
      const result = await dependencies.timeline.step(`retention in ${targetName(target)}`, () =>
        dependencies.retain(target, plan.job, { runId, journal: dependencies.journal, signal }),
      );
      faultPoint('run.retained');
      reports.push(reported(result));
      for (const { message } of result.failed) warn(message);
      const held = result.verdicts.find(({ heldFor }) => heldFor !== undefined)?.heldFor;
      if (held !== undefined) {
        warn(
          `retention in ${targetName(target)} removes nothing older than ${held}, which cannot be read and may need it: mend it, or remove its directory`,
        );
      }
    } catch (error) {
      if (!signal.aborted) warn(`retention in ${targetName(target)} failed: ${messageOf(error)}`);
    }
  }
  return reports;
}
