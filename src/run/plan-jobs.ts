import type { JobConfig } from '../config/types.js';
import { makePlan } from '../plan/make-plan.js';
import { targetName } from '../backup-target.js';
import type { Plan, PlannedSource, PlannedTarget, UnplannedJob } from '../plan/plan.js';
import type { Detectors } from '../plan/resolve-mode.js';
import type { HostFacts } from '../plan/facts.js';
import { toErrorReport } from '../report/error-report.js';
import { examinePlan, type Examine, type ExaminedPlan } from './examine-plan.js';

/** What planning needs of the host. */
export interface PlanHost {
  detectors: Detectors;
  gatherFacts: (job: JobConfig) => Promise<HostFacts>;
}

/**
 * Plans jobs and looks at their sources and targets, without doing anything. One job alone: rejects when it cannot be done, as
 * `makePlan` throws and `examinePlan` rejects. Of several each is looked at, as each would be run.
 */
export async function planJobs(
  jobs: readonly JobConfig[],
  host: PlanHost & { examine: Examine; refuseFrozenSources: (plan: Plan) => Promise<void> },
  options: { force: boolean },
): Promise<(ExaminedPlan | UnplannedJob)[]> {
  const plans: (ExaminedPlan | UnplannedJob)[] = [];
  for (const job of jobs) {
    try {
      const plan = makePlan(job, await host.gatherFacts(job), host.detectors, options);
      await host.refuseFrozenSources(plan);
      plans.push(await examinePlan(plan, host.examine));
    } catch (error) {
      if (jobs.length === 1) throw error;
      plans.push({ version: 1, job: job.name, error: toErrorReport(error) });
    }
  }
  return plans;
}

type PrintedTarget = Pick<PlannedTarget, 'engine' | 'keep' | 'limitBytesPerSecond'> &
  (Pick<PlannedTarget, 'path' | 'mustBeMountpoint'> | { repository: string });

type PrintedSource = Omit<PlannedSource, 'filesystem' | 'together'>;

type PrintedPlan = Omit<ExaminedPlan, 'sources' | 'targets'> & {
  sources: readonly PrintedSource[];
  targets: readonly PrintedTarget[];
};

/** A repository by its name alone: not the catalogue, nor where its secrets are. */
function printedTarget(target: PlannedTarget): PrintedTarget {
  const { engine, keep, repository, limitBytesPerSecond } = target;
  if (repository === undefined) return target;
  return {
    repository: targetName(target),
    engine,
    ...(keep === undefined ? {} : { keep }),
    ...(limitBytesPerSecond === undefined ? {} : { limitBytesPerSecond }),
  };
}

/** Stable, so without the facts that only the providers read. */
function withoutFacts(plan: ExaminedPlan | UnplannedJob): PrintedPlan | UnplannedJob {
  if ('error' in plan) return plan;
  const sources = plan.sources.map((source) => {
    const printed: PrintedSource & { filesystem?: unknown; together?: unknown } = { ...source };
    delete printed.filesystem;
    delete printed.together;
    return printed;
  });
  return { ...plan, sources, targets: plan.targets.map(printedTarget) };
}

/** What `--json` prints: the plan of one job, an array for several. */
export function printable(
  plans: readonly (ExaminedPlan | UnplannedJob)[],
): ReturnType<typeof withoutFacts> | ReturnType<typeof withoutFacts>[] | undefined {
  const printed = plans.map(withoutFacts);
  return printed.length === 1 ? printed[0] : printed;
}
