import type { JobConfig, SourceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import type { HostFacts, SourceFacts } from '../plan/facts.js';
import { makePlan } from '../plan/make-plan.js';
import type { Plan, PlannedSource } from '../plan/plan.js';
import type { PlanHost } from '../run/plan-jobs.js';
import { PID_NAMESPACE_WARNING } from '../system/pid-namespace.js';
import { checkRoom } from './check-room.js';
import { checkSnapshots, type ProviderOf } from './check-snapshot.js';
import { checkUnknownSnapshots } from './check-unknown.js';
import { describeStack } from './describe-stack.js';
import { ok, problem, warning, type Finding } from './finding.js';
import { readRoom } from './read-room.js';
import type { MountpointReport } from './report.js';

/** What of a job is to be examined, and how bad it is when it cannot be done. */
export interface ExaminedJob {
  job: JobConfig;
  /** False for a job made up for a mountpoint: what lies below it is then no matter. */
  isConfigured: boolean;
  /** A filesystem that nobody asked about need not be fit for anything. */
  isAsked: boolean;
}

/** What examining needs of the host. */
export interface ExaminingHost {
  plan: PlanHost;
  providerOf: ProviderOf;
  /** Rejects with `notFrozen` where somebody holds a source of a plan frozen. */
  refuseFrozenSources: (plan: Plan) => Promise<void>;
}

/** The sources of a job, and what concerns them together. */
export interface JobExamination {
  mountpoints: MountpointReport[];
  findings: Finding[];
}

type Planned = { plan: Plan; refusal: FsbackupError | undefined } | { refusal: FsbackupError };

function attempt<T>(work: () => T): T | FsbackupError {
  try {
    return work();
  } catch (error) {
    if (error instanceof FsbackupError) return error;
    throw error;
  }
}

/** The plan of a run, and why a run would refuse it without --force. */
function planOf(job: JobConfig, facts: HostFacts, { plan: { detectors } }: ExaminingHost): Planned {
  const plan = attempt(() => makePlan(job, facts, detectors, { force: false }));
  if (!(plan instanceof FsbackupError)) return { plan, refusal: undefined };
  const forced = attempt(() => makePlan(job, facts, detectors, { force: true }));
  return forced instanceof FsbackupError ? { refusal: plan } : { plan: forced, refusal: plan };
}

function refused(error: FsbackupError, isAsked: boolean): Finding {
  return (isAsked ? problem : warning)('mode', error.message, { detail: error.hint });
}

async function describeSource(
  source: PlannedSource,
  job: ExaminedJob,
  findings: Finding[],
): Promise<MountpointReport> {
  const { mountpoint, device, fstype, provider, freezeMode, freezeModeReason, consistency } = source;
  return {
    mountpoint,
    job: job.isConfigured ? job.job.name : null,
    device,
    fstype,
    stack: describeStack(source.filesystem.stack),
    provider,
    freezeMode,
    freezeModeReason,
    consistency,
    findings: [...findings, ...checkRoom(await readRoom(source)), ...(await checkUnknownSnapshots(source))],
  };
}

async function describeSources(
  plan: Plan,
  job: ExaminedJob,
  findings: readonly Finding[],
  { providerOf }: ExaminingHost,
): Promise<MountpointReport[]> {
  const snapshots = await checkSnapshots(plan, providerOf);
  return await Promise.all(
    plan.sources.map((source, index) => {
      const snapshot = snapshots.get(index);
      return describeSource(source, job, [...findings, ...(snapshot === undefined ? [] : [snapshot])]);
    }),
  );
}

function describeUnplanned(
  source: SourceConfig,
  facts: SourceFacts | undefined,
  finding: Finding,
  job: ExaminedJob,
): MountpointReport {
  const mount = facts?.filesystem.mount;
  return {
    mountpoint: mount?.mountpoint ?? source.path,
    job: job.isConfigured ? job.job.name : null,
    device: mount?.source ?? null,
    fstype: mount?.fstype ?? null,
    stack: describeStack(facts?.filesystem.stack),
    provider: null,
    freezeMode: null,
    freezeModeReason: null,
    consistency: null,
    findings: [finding],
  };
}

/** Facts without those of a target that is missing: that is told of the target itself. */
async function gather(job: JobConfig, { plan: { gatherFacts } }: ExaminingHost): Promise<HostFacts> {
  try {
    return await gatherFacts(job);
  } catch (error) {
    if (!(error instanceof FsbackupError) || job.targets.length === 0) throw error;
    return await gatherFacts({ ...job, targets: [] });
  }
}

/** One source as if it were the only one. */
async function examineAlone(
  source: SourceConfig,
  job: ExaminedJob,
  host: ExaminingHost,
): Promise<MountpointReport[]> {
  const alone = { ...job.job, sources: [source], targets: [] };
  try {
    const facts = await host.plan.gatherFacts(alone);
    const planned = planOf(alone, facts, host);
    if ('plan' in planned) {
      return await describeSources(planned.plan, job, [], host);
    }
    return [describeUnplanned(source, facts.sources[0], refused(planned.refusal, job.isAsked), job)];
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    return [describeUnplanned(source, undefined, refused(error, job.isAsked), job)];
  }
}

/** The job cannot be planned: its sources one by one tell why, and if they do not, it is told of the job as a whole. */
async function explain(
  refusal: FsbackupError,
  job: ExaminedJob,
  host: ExaminingHost,
): Promise<JobExamination> {
  const reports = await Promise.all(job.job.sources.map((source) => examineAlone(source, job, host)));
  const mountpoints = reports.flat();
  const isExplained = mountpoints.some(({ provider }) => provider === null);
  const whole = problem(`job-${job.job.name}`, refusal.message, { detail: refusal.hint });
  return { mountpoints, findings: isExplained ? [] : [whole] };
}

async function frozenSource(plan: Plan, host: ExaminingHost): Promise<FsbackupError | undefined> {
  try {
    await host.refuseFrozenSources(plan);
    return undefined;
  } catch (error) {
    if (error instanceof FsbackupError) return error;
    throw error;
  }
}

/** What the plan warns of, and is not told otherwise. */
function findingsOfPlan({ plan, refusal }: Extract<Planned, { plan: Plan }>, check: string): Finding[] {
  return plan.warnings
    .filter((message) => message !== PID_NAMESPACE_WARNING && refusal?.message.startsWith(message) !== true)
    .map((message) => warning(check, message));
}

/**
 * What a run of the job would do with each filesystem, by the very planner of a run, and what stands in its way.
 * Reads only.
 */
export async function examineJob(examined: ExaminedJob, host: ExaminingHost): Promise<JobExamination> {
  const { job, isConfigured, isAsked } = examined;
  let facts: HostFacts;
  try {
    facts = await gather(job, host);
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    return await explain(error, examined, host);
  }
  if (!isConfigured) {
    facts = { ...facts, sources: facts.sources.map((source) => ({ ...source, nested: [] })) };
  }
  const planned = planOf(job, facts, host);
  if (!('plan' in planned)) return await explain(planned.refusal, examined, host);
  const { plan } = planned;
  const refusal = planned.refusal ?? (await frozenSource(plan, host));
  const mode = refusal === undefined ? ok('mode', 'a run can take it') : refused(refusal, isAsked);
  const findings = findingsOfPlan(planned, isConfigured ? `job-${job.name}` : 'plan');
  // A job made up for one filesystem is that filesystem.
  const own = isConfigured ? [mode] : [mode, ...findings];
  const mountpoints = await describeSources(plan, examined, own, host);
  return { mountpoints, findings: isConfigured ? findings : [] };
}
