import { messageOf } from '../errors.js';
import type { Reporter } from '../report/reporter.js';
import type { StepReport } from '../report/run-report.js';

/** Milliseconds from some fixed point, never going back. */
export type Clock = () => number;

/** Between two instants of the wall clock, RFC 3339 in UTC. */
export interface WallSpan {
  startedAt: string;
  finishedAt: string;
}

/** A step of the window, measured in memory and told afterwards. */
export interface MeasuredStep {
  step: string;
  startedAt: number;
  durationMs: number;
}

/** Times the steps of a run and tells the reporter of them, but never while something is frozen. */
export class Timeline {
  readonly steps: StepReport[] = [];
  readonly reporter: Reporter;
  readonly now: Clock;
  readonly #wallClock: Clock;
  readonly #startedAt: number;

  /** `wallClock`: epoch milliseconds; it may jump. */
  constructor(reporter: Reporter, now: Clock, wallClock: Clock = Date.now) {
    this.reporter = reporter;
    this.now = now;
    this.#wallClock = wallClock;
    this.#startedAt = now();
  }

  #record({ step, startedAt, durationMs }: MeasuredStep, frozen: boolean): void {
    this.steps.push({ step, startMs: startedAt - this.#startedAt, durationMs, frozen });
  }

  /** Runs one step. Rejects as it does. */
  async step<T>(step: string, work: () => Promise<T>): Promise<T> {
    const startedAt = this.now();
    this.reporter.stepStarted(step, { frozen: false });
    try {
      const value = await work();
      this.reporter.stepFinished(step, this.now() - startedAt);
      return value;
    } catch (error) {
      this.reporter.stepFailed(step, messageOf(error));
      throw error;
    } finally {
      this.#record({ step, startedAt, durationMs: this.now() - startedAt }, false);
    }
  }

  /**
   * Two readings of `now` on the wall clock as it is set at this moment, rounded outwards to whole milliseconds: what
   * ended before the one, or began after the other, did so by any process's reading of that clock.
   */
  wallSpan(startMs: number, endMs: number): WallSpan {
    // The wall clock shows the millisecond that has begun.
    const earliest = this.#wallClock() - this.now();
    return {
      startedAt: new Date(Math.floor(earliest + startMs)).toISOString(),
      finishedAt: new Date(Math.ceil(earliest + 1 + endMs)).toISOString(),
    };
  }

  /** Just before the freeze, with the window's first step: the reporter then writes nothing until `windowClosed`. */
  windowOpens(step: string): void {
    this.reporter.stepStarted(step, { frozen: true });
  }

  /** After the thaw: tells of what happened in between, whether anything was frozen at all, and which of the steps failed. */
  windowClosed(
    steps: readonly MeasuredStep[],
    { wasFrozen, failure }: { wasFrozen: boolean; failure?: { step: string; message: string } | undefined },
  ): void {
    for (const [index, measured] of steps.entries()) {
      this.#record(measured, wasFrozen);
      if (index > 0) this.reporter.stepStarted(measured.step, { frozen: true });
      if (failure?.step === measured.step) this.reporter.stepFailed(measured.step, failure.message);
      else this.reporter.stepFinished(measured.step, measured.durationMs);
    }
  }
}
