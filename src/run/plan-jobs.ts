import type { JobConfig } from '../config/types.js';
import { makePlan } from '../plan/make-plan.js';
import type { Plan, PlannedSource } from '../plan/plan.js';
import type { Detectors } from '../plan/resolve-mode.js';
import type { HostFacts } from '../plan/facts.js';

/** What planning needs of the host. */
export interface PlanHost {
  detectors: Detectors;
  gatherFacts: (job: JobConfig) => Promise<HostFacts>;
}

/** Plans jobs without doing anything. Rejects at the first that cannot be done, as `makePlan` throws. */
export async function planJobs(
  jobs: readonly JobConfig[],
  host: PlanHost,
  options: { force: boolean },
): Promise<Plan[]> {
  const plans: Plan[] = [];
  for (const job of jobs) plans.push(makePlan(job, await host.gatherFacts(job), host.detectors, options));
  return plans;
}

type PrintedPlan = Omit<Plan, 'sources'> & { sources: readonly Omit<PlannedSource, 'filesystem'>[] };

/** Stable, so without the facts that only the providers read. */
function withoutFacts(plan: Plan): PrintedPlan {
  const sources = plan.sources.map((source) => {
    const printed: Omit<PlannedSource, 'filesystem'> & { filesystem?: unknown } = { ...source };
    delete printed.filesystem;
    return printed;
  });
  return { ...plan, sources };
}

/** What `--json` prints: the plan of one job, an array for several. */
export function printable(plans: readonly Plan[]): PrintedPlan | PrintedPlan[] | undefined {
  const printed = plans.map(withoutFacts);
  return printed.length === 1 ? printed[0] : printed;
}
