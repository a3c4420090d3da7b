import { FsbackupError, messageOf } from '../errors.js';
import { exitCode, worstExitCode } from '../exit-codes.js';
import { weakest } from '../plan/resolve-mode.js';
import type { Plan, PlannedFreeze } from '../plan/plan.js';
import { toErrorReport } from '../report/error-report.js';
import { areAtOneInstant } from '../report/instants.js';
import { roundMs } from '../report/round-ms.js';
import type {
  CopyReport,
  ErrorReport,
  FailedCopyReport,
  RetentionReport,
  RunReport,
  SourceReport,
  StepReport,
} from '../report/run-report.js';
import type { ReleaseFailure } from './release-stack.js';
import { isInterruption } from '../system/signals.js';

/** A target that has no backup of this run, and why. */
export interface FailedCopy extends Omit<FailedCopyReport, 'error'> {
  error: unknown;
}

/** What became of a run, gathered while it went on. */
export interface RunFacts {
  job: string;
  runId: string;
  startedAt: Date;
  freeze: PlannedFreeze;
  sources: readonly SourceReport[];
  copies: readonly CopyReport[];
  /** Their errors are among `errors`. */
  failedCopies?: readonly FailedCopy[];
  steps: readonly StepReport[];
  retention?: readonly RetentionReport[];
  /** Each is warned of. */
  leftOut?: readonly string[];
  warnings: readonly string[];
  /** Told among the warnings, and no reason for exit 3: what is true of every run on this host. */
  notes: readonly string[];
  /** In the order they happened. */
  errors: readonly unknown[];
  releaseFailures: readonly ReleaseFailure[];
}

/** The gravest of several errors, the first of equals. */
function gravest(errors: readonly ErrorReport[]): ErrorReport | undefined {
  const worst = worstExitCode(errors.map((error) => error.exitCode));
  return errors.find((error) => error.exitCode === worst);
}

function releaseError(failures: readonly ReleaseFailure[]): FsbackupError {
  const [first] = failures;
  const others = failures.length > 1 ? ` (and ${failures.length - 1} more)` : '';
  return new FsbackupError(
    'cleanupIncomplete',
    `still held: ${first?.what ?? ''}${others}: ${messageOf(first?.error)}`,
    { hint: 'Mend what it names, then run `fsbackup recover`.' },
  );
}

function roundedOrNull(ms: number | null): number | null {
  return ms === null ? null : roundMs(ms);
}

function outcomeOf(facts: RunFacts, code: number): RunReport['outcome'] {
  const { errors, failedCopies = [], releaseFailures } = facts;
  if (errors.some(isInterruption) && releaseFailures.length === 0) return 'interrupted';
  if (code === 0) return 'success';
  // Partial in one target, and none in another.
  if (code === exitCode('copyPartial') && failedCopies.length > 0) return 'failed';
  return code === exitCode('warnings') || code === exitCode('copyPartial') ? 'warnings' : 'failed';
}

/** What went wrong beside the error that counts, and is told neither as a target's nor as still held. */
function otherErrors(
  { errors, failedCopies = [] }: RunFacts,
  counts: ErrorReport | undefined,
): ErrorReport[] {
  return errors
    .filter((error) => !failedCopies.some((failed) => failed.error === error))
    .map(toErrorReport)
    .filter(({ code, message }) => code !== counts?.code || message !== counts.message);
}

/**
 * The report of a run. The error that counts is the gravest, and the exit code its: that of a release that failed where
 * there is one (60, or 22 where something may still be frozen), also after an interrupt. No error is left out.
 */
export function reportRun(facts: RunFacts): RunReport {
  const errors = facts.errors.map(toErrorReport);
  const held = facts.releaseFailures.length === 0 ? [] : [toErrorReport(releaseError(facts.releaseFailures))];
  const warnings = [
    ...new Set(facts.warnings),
    ...facts.releaseFailures.map(({ what, error }) => `still held: ${what}: ${messageOf(error)}`),
  ];
  const error = gravest([...errors, ...held]);
  const others = otherErrors(facts, error);
  const code = worstExitCode([
    ...[...errors, ...held].map((one) => one.exitCode),
    ...(warnings.length > 0 ? [exitCode('warnings')] : []),
  ]);
  const { timeoutMs, heartbeatMs, maxHoldMs } = facts.freeze;
  return {
    version: 1,
    job: facts.job,
    runId: facts.runId,
    outcome: outcomeOf(facts, code),
    exitCode: code,
    consistency: weakest(facts.sources.map((source) => source.consistency)),
    oneInstant: areAtOneInstant(facts.sources),
    startedAt: facts.startedAt.toISOString(),
    finishedAt: new Date().toISOString(),
    freeze: {
      timeoutSeconds: timeoutMs === null ? null : timeoutMs / 1000,
      heartbeatSeconds: heartbeatMs === null ? null : heartbeatMs / 1000,
      maxHoldSeconds: maxHoldMs / 1000,
    },
    sources: facts.sources.map((source) => ({
      ...source,
      frozenMs: roundedOrNull(source.frozenMs),
      freezeCallMs: roundedOrNull(source.freezeCallMs),
      snapshotMs: roundedOrNull(source.snapshotMs),
      thawMs: roundedOrNull(source.thawMs),
    })),
    copies: facts.copies.map((copy) => ({ ...copy, durationMs: roundMs(copy.durationMs) })),
    ...(facts.failedCopies === undefined || facts.failedCopies.length === 0
      ? {}
      : {
          failedCopies: facts.failedCopies.map((failed) => ({
            ...failed,
            error: toErrorReport(failed.error),
          })),
        }),
    steps: facts.steps.map((step) => ({
      ...step,
      startMs: roundMs(step.startMs),
      durationMs: roundMs(step.durationMs),
    })),
    ...(facts.retention === undefined || facts.retention.length === 0
      ? {}
      : { retention: [...facts.retention] }),
    ...(facts.leftOut === undefined || facts.leftOut.length === 0 ? {} : { leftOut: [...facts.leftOut] }),
    warnings: [...new Set([...warnings, ...facts.notes])],
    ...(error === undefined ? {} : { error }),
    ...(others.length === 0 ? {} : { otherErrors: others }),
  };
}

/** The report of a job that could not even be planned, or that was not begun. */
export function reportUnplanned(
  facts: Pick<RunFacts, 'job' | 'runId' | 'startedAt' | 'steps' | 'warnings' | 'errors'> & {
    freeze: Pick<Plan['freeze'], 'timeoutMs' | 'maxHoldMs'>;
  },
): RunReport {
  const { timeoutMs, maxHoldMs } = facts.freeze;
  return reportRun({
    ...facts,
    freeze: { timeoutMs, maxHoldMs, heartbeatMs: timeoutMs === null ? null : timeoutMs / 2 },
    sources: [],
    copies: [],
    notes: [],
    releaseFailures: [],
  });
}

/** The same run, of which something is to be told that failed after its report was made. */
export function withWarning(report: RunReport, warning: string): RunReport {
  return {
    ...report,
    outcome: report.outcome === 'success' ? 'warnings' : report.outcome,
    exitCode: worstExitCode([report.exitCode, exitCode('warnings')]),
    warnings: [...report.warnings, warning],
  };
}
