import type { CopyProgress } from '../copy/engine.js';
import type { RunReport } from './run-report.js';

/** How a piece of work ended that is no run: a restore, a verification. */
export interface FinishedWork {
  outcome: string;
  exitCode: number;
}

/**
 * The face that a run shows while it goes on. Implementations: a terminal's (spinners, a progress line), plain lines,
 * silence (`--json`, `--quiet`), a JSON object a line (`--log-json`).
 */
export interface Reporter {
  jobStarted(job: string): void;
  /** A step begins; `frozen` steps are in the window, where an implementation must write nothing. */
  stepStarted(step: string, options: { frozen: boolean }): void;
  stepFinished(step: string, durationMs: number): void;
  stepFailed(step: string, message: string): void;
  progress(progress: CopyProgress): void;
  warn(message: string): void;
  /** Somebody else has what is needed, and is waited for: no warning. */
  waiting(message: string): void;
  /** Of a restore or a verification; its result is printed by the command. */
  workFinished(work: FinishedWork): void;
  jobFinished(report: RunReport): void;
}
