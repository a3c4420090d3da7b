import type { CopyProgress } from '../copy/engine.js';
import { withoutControls } from './controls.js';
import { formatMs } from './format.js';
import { HeldOutput } from './held-output.js';
import { ProgressMeter } from './progress-meter.js';
import { renderReport, type Style } from './render-report.js';
import type { Reporter } from './reporter.js';
import type { RunReport } from './run-report.js';

/** Where a reporter writes, and its clock in milliseconds that never goes back. */
export interface ReporterOutput {
  /** What goes on: steps, progress, warnings. */
  log: (text: string) => void;
  /** The summary at the end. */
  result: (text: string) => void;
  now: () => number;
}

/** A log is no terminal: progress is worth a line only so often. */
const PROGRESS_EVERY_MS = 30_000;

/** A line for each thing that happened: for pipes, files and journals. Nothing is written in the window. */
export class PlainReporter implements Reporter {
  readonly #output: ReporterOutput;
  readonly #style: Style;
  readonly #held = new HeldOutput();
  readonly #meter: ProgressMeter;
  readonly #frozenSteps = new Set<string>();
  #job = '';
  #progressAt: number;

  constructor(output: ReporterOutput, style: Style) {
    this.#output = output;
    this.#style = style;
    this.#meter = new ProgressMeter(output.now);
    this.#progressAt = output.now();
  }

  #line(text: string): void {
    // Before the job begins there is none to name.
    const line = `${this.#job === '' ? '' : `${this.#job}: `}${withoutControls(text)}\n`;
    this.#held.say(() => this.#output.log(line));
  }

  jobStarted(job: string): void {
    this.#job = job;
    this.#line('started');
  }

  stepStarted(step: string, { frozen }: { frozen: boolean }): void {
    if (frozen) {
      this.#held.hold();
      this.#frozenSteps.add(step);
      return;
    }
    this.#held.release();
    this.#frozenSteps.delete(step);
    this.#meter.reset();
    this.#progressAt = this.#output.now();
  }

  stepFinished(step: string, durationMs: number): void {
    this.#line(`${step} ${formatMs(durationMs)}${this.#frozenSteps.has(step) ? ' (frozen)' : ''}`);
  }

  stepFailed(step: string, message: string): void {
    this.#line(`${step} failed: ${message}`);
  }

  progress(progress: CopyProgress): void {
    this.#meter.take(progress);
    const now = this.#output.now();
    if (now - this.#progressAt < PROGRESS_EVERY_MS) return;
    this.#progressAt = now;
    this.#line(this.#meter.line(progress));
  }

  warn(message: string): void {
    this.#line(`warning: ${message}`);
  }

  waiting(message: string): void {
    this.#line(message);
  }

  workFinished(): void {
    // Told by what the command prints.
  }

  jobFinished(report: RunReport): void {
    this.#held.release();
    this.#output.result(renderReport(report, this.#style));
  }
}
