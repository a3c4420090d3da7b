import type { CopyProgress } from '../copy/engine.js';
import type { RunReport } from './run-report.js';

/**
 * The face that a run shows while it goes on. Implementations: a terminal's (spinners, a progress line), plain lines,
 * silence (`--json`, `--quiet`).
 */
export interface Reporter {
  jobStarted(job: string): void;
  /** A step begins; `frozen` steps are in the window, where an implementation must write nothing. */
  stepStarted(step: string, options: { frozen: boolean }): void;
  stepFinished(step: string, durationMs: number): void;
  stepFailed(step: string, message: string): void;
  progress(progress: CopyProgress): void;
  warn(message: string): void;
  jobFinished(report: RunReport): void;
}
