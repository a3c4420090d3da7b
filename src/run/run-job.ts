import { messageOf } from '../errors.js';
import type { JobConfig } from '../config/types.js';
import type { Journal } from '../journal/journal.js';
import { locksForRecovery, type Lock, type LockDependencies } from '../journal/lock.js';
import type { RecoverReport } from '../journal/recover-report.js';
import type { HostFacts } from '../plan/facts.js';
import { makePlan } from '../plan/make-plan.js';
import type { Detectors } from '../plan/resolve-mode.js';
import type { Reporter } from '../report/reporter.js';
import type { RunReport } from '../report/run-report.js';
import type { ExecuteDependencies } from './dependencies.js';
import { executePlan } from './execute.js';
import { ReleaseStack } from './release-stack.js';
import { reportUnplanned, withWarning } from './run-outcome.js';
import { takeLocks } from './take-locks.js';
import { Timeline, type Clock } from './timeline.js';
import { faultPoint } from '../system/fault-point.js';

/** The host as a run sees it: the real one, or a test's. */
export interface RunHost {
  detectors: Detectors;
  gatherFacts: (job: JobConfig) => Promise<HostFacts>;
  /** For this run: what the lock files say of it. */
  locks: (runId: string) => LockDependencies;
  /**
   * Releases what dead runs left. `lockJob` takes a job's lock, or resolves to undefined when it lives. Rejects with the
   * signal's reason when that is aborted.
   */
  recover: (
    lockJob: (job: string) => Promise<Lock | undefined>,
    signal: AbortSignal,
  ) => Promise<RecoverReport>;
  openJournal: (job: string, runId: string) => Journal;
  mountDirectory: (job: string) => string;
  recordRun: (report: RunReport) => Promise<void>;
  /** Notes what a backup was made of, for the next run to be held against. */
  rememberMounts: (report: RunReport) => Promise<void>;
  makeRunId: () => string;
  now: Clock;
  execution: Omit<ExecuteDependencies, 'journal' | 'timeline' | 'mountDirectory'>;
}

export interface RunJobOptions {
  force: boolean;
  lockWaitMs: number;
  reporter: Reporter;
  signal: AbortSignal;
}

/** What a run tells of a recovery that could not do all: a later run tries again. */
export function recoveryWarnings({ failed, unreadable }: RecoverReport): string[] {
  return [
    ...failed.map(({ what, message }) => `of an earlier run there is still held: ${what}: ${message}`),
    ...unreadable.map(({ file, reason }) => `the journal file ${file} cannot be read: ${reason}`),
  ];
}

/** Such a run changed nothing, and is no part of the history: by a run of the same job or target, or by a freeze of ours. */
function wasLockedOut({ error, copies }: RunReport): boolean {
  return error?.code === 'locked' && copies.length === 0;
}

/**
 * Runs one job: lock, recover, plan, execute, record. Never rejects for a failure of the run: the report tells.
 * All that was acquired, locks included, is released when it resolves.
 */
export async function runJob(job: JobConfig, host: RunHost, options: RunJobOptions): Promise<RunReport> {
  const { reporter, signal } = options;
  const runId = host.makeRunId();
  const startedAt = new Date();
  const timeline = new Timeline(reporter, host.now);
  const locks = host.locks(runId);
  const stack = new ReleaseStack();
  const warnings: string[] = [];
  const begun = { job: job.name, runId, startedAt, freeze: job.freeze };

  reporter.jobStarted(job.name);
  let report: RunReport;
  let isLocked = false;
  try {
    await timeline.step('lock', () =>
      takeLocks({ job: job.name, targets: job.targets }, locks, stack, {
        waitMs: options.lockWaitMs,
        signal,
        onWait: (message) => reporter.waiting(message),
      }),
    );
    isLocked = true;
    faultPoint('run.locked');
    const recovered = await timeline.step('recover', () =>
      host.recover(locksForRecovery(locks, job.name), signal),
    );
    warnings.push(...recoveryWarnings(recovered));
    faultPoint('run.recovered');
    const plan = await timeline.step('plan', async () =>
      makePlan(job, await host.gatherFacts(job), host.detectors, { force: options.force }),
    );
    signal.throwIfAborted();
    faultPoint('run.planned');
    const dependencies = {
      ...host.execution,
      timeline,
      journal: host.openJournal(job.name, runId),
      mountDirectory: host.mountDirectory(job.name),
    };
    const leftovers = warnings;
    report = await executePlan(plan, dependencies, { runId, startedAt, warnings: [], leftovers, signal });
  } catch (error) {
    report = reportUnplanned({ ...begun, steps: timeline.steps, warnings, errors: [error] });
  }
  if (isLocked && !wasLockedOut(report)) {
    try {
      await host.rememberMounts(report);
    } catch (error) {
      const warning = `on which filesystems the sources lay is not recorded: ${messageOf(error)}`;
      reporter.warn(warning);
      report = withWarning(report, warning);
    }
    try {
      await host.recordRun(report);
      faultPoint('run.recorded');
    } catch (error) {
      const warning = `the run is not in the history: ${messageOf(error)}`;
      reporter.warn(warning);
      report = withWarning(report, warning);
    }
  }
  // The locks end with the process at the latest: their failure is no matter of the backup.
  for (const { what, error } of await stack.releaseAll()) reporter.warn(`${what}: ${messageOf(error)}`);
  reporter.jobFinished(report);
  return report;
}

/**
 * Runs jobs one after the other, in the order given; one's failure does not stop the next, an interrupt does.
 * Resolves to the reports of those that were begun.
 */
export async function runJobs(
  jobs: readonly JobConfig[],
  host: RunHost,
  options: RunJobOptions,
): Promise<RunReport[]> {
  const reports: RunReport[] = [];
  for (const job of jobs) {
    reports.push(await runJob(job, host, options));
    if (options.signal.aborted) break;
  }
  return reports;
}
