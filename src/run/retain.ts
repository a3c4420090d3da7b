import { readVerifications } from '../copy/verify/verify-history.js';
import { applyRetention, type RetentionResult } from '../retention/apply.js';
import type { PlannedTarget } from '../plan/plan.js';
import type { RetainUsing } from './dependencies.js';

/** Retention on this host. The locks of job and target are held. */
export async function retainBackups(
  target: PlannedTarget,
  job: string,
  using: RetainUsing,
): Promise<RetentionResult> {
  const verifications = await readVerifications([job], [target]);
  const { runId: justMade, ...effects } = using;
  const rules = target.keep ?? {};
  return await applyRetention({ target, job, rules, justMade, now: new Date(), verifications }, effects);
}
