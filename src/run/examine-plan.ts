import { targetName } from '../backup-target.js';
import { atPlace } from '../config/written-at.js';
import { FsbackupError } from '../errors.js';
import { worstExitCode } from '../exit-codes.js';
import type { Plan, PlannedTarget, UnplannedJob } from '../plan/plan.js';
import { describeSteps } from '../plan/steps.js';
import { toErrorReport } from '../report/error-report.js';
import type { FailedCopyReport } from '../report/run-report.js';

/** A plan, and what a look at its targets found. */
export interface ExaminedPlan extends Plan {
  /** Absent: none. Targets that a run would make no backup in, as its report would name them. */
  failedCopies?: readonly FailedCopyReport[];
}

/** Rejects when a run of the job could make no backup in the target now; see `examineTarget`. */
export type Examine = (target: PlannedTarget, plan: Plan) => Promise<unknown>;

/**
 * Looks at the targets of a plan as the preflight of a run does: one that can take no backup is named and has no copy
 * among the steps. Rejects as the run would when none can.
 */
export async function examinePlan(plan: Plan, examine: Examine): Promise<ExaminedPlan> {
  const failed = new Map<PlannedTarget, FsbackupError>();
  for (const target of plan.targets) {
    try {
      await examine(target, plan);
    } catch (error) {
      const placed = atPlace(target, error);
      if (!(placed instanceof FsbackupError)) throw placed;
      failed.set(target, placed);
    }
  }
  const [first] = failed.values();
  if (first === undefined) return plan;
  const targets = plan.targets.filter((target) => !failed.has(target));
  if (targets.length === 0) throw first;
  const failedCopies = [...failed].map(([target, error]) => ({
    target: targetName(target),
    engine: target.engine,
    error: toErrorReport(error),
  }));
  return { ...plan, steps: describeSteps({ ...plan, targets }), failedCopies };
}

/** What a run by these plans would exit with for what is known now: 0 when each target can take a backup. */
export function exitCodeOfPlans(plans: readonly (ExaminedPlan | UnplannedJob)[]): number {
  const errors = plans.flatMap((plan) =>
    'error' in plan ? [plan.error] : (plan.failedCopies ?? []).map(({ error }) => error),
  );
  return worstExitCode(errors.map((error) => error.exitCode));
}
