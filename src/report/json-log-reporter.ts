import type { CopyProgress } from '../copy/engine.js';
import { asJson } from './controls.js';
import { HeldOutput } from './held-output.js';
import type { LogEvent } from './log-event.js';
import { ProgressMeter } from './progress-meter.js';
import type { FinishedWork, Reporter } from './reporter.js';
import { roundMs } from './round-ms.js';
import type { RunReport } from './run-report.js';

const PROGRESS_EVERY_MS = 1000;

/** Each member of the union without what all events have. */
type Told = LogEvent extends infer Event
  ? Event extends { job: string }
    ? Omit<Event, 'version' | 'time' | 'job' | 'backupId'>
    : never
  : never;

/** Where the lines go, and the clocks. */
export interface JsonLogOutput {
  log: (text: string) => void;
  /** The summary for people; absent where nobody wants it. */
  result?: (report: RunReport) => void;
  /** Milliseconds, never going back. */
  now: () => number;
  date: () => Date;
}

/** `--log-json`: an event a line. Nothing is written in the window. */
export class JsonLogReporter implements Reporter {
  readonly #output: JsonLogOutput;
  readonly #held = new HeldOutput();
  readonly #meter: ProgressMeter;
  #job = '';
  #backupId: string | null = null;
  #steps: string[] = [];
  #progressAt = Number.NEGATIVE_INFINITY;
  #untold: CopyProgress | undefined;

  constructor(output: JsonLogOutput) {
    this.#output = output;
    this.#meter = new ProgressMeter(output.now);
  }

  #tell(event: Told): void {
    const common = {
      version: 1,
      time: this.#output.date().toISOString(),
      job: this.#job,
      backupId: this.#backupId,
    };
    const line = `${asJson({ ...common, ...event })}\n`;
    this.#held.say(() => this.#output.log(line));
  }

  jobStarted(job: string): void {
    // No job's name has an `@`: what follows it is a backup.
    const [name = '', backupId = null] = job.split('@');
    this.#job = name;
    this.#backupId = backupId;
    this.#steps = [];
    this.#tell({ event: 'job-started' });
  }

  stepStarted(step: string, { frozen }: { frozen: boolean }): void {
    if (frozen) this.#held.hold();
    else {
      this.#held.release();
      this.#meter.reset();
      this.#untold = undefined;
      this.#progressAt = Number.NEGATIVE_INFINITY;
    }
    this.#steps.push(step);
    this.#tell({ event: 'step-started', step, frozen });
  }

  #endStep(step: string): void {
    if (this.#untold !== undefined) this.#tellProgress(this.#untold);
    this.#steps = this.#steps.filter((open) => open !== step);
  }

  stepFinished(step: string, durationMs: number): void {
    this.#endStep(step);
    this.#tell({ event: 'step-finished', step, durationMs: roundMs(durationMs) });
  }

  stepFailed(step: string, message: string): void {
    this.#endStep(step);
    this.#tell({ event: 'step-failed', step, message });
  }

  #tellProgress(progress: CopyProgress): void {
    const { bytesPerSecond, secondsLeft } = this.#meter.estimate(progress);
    this.#untold = undefined;
    this.#progressAt = this.#output.now();
    this.#tell({
      event: 'progress',
      step: this.#steps.at(-1) ?? null,
      bytes: progress.bytes,
      files: progress.files,
      totalBytes: progress.totalBytes ?? null,
      totalFiles: progress.totalFiles ?? null,
      entries: progress.entries ?? null,
      totalEntries: progress.totalEntries ?? null,
      bytesPerSecond: bytesPerSecond ?? null,
      secondsLeft: secondsLeft ?? null,
    });
  }

  progress(progress: CopyProgress): void {
    this.#meter.take(progress);
    if (this.#output.now() - this.#progressAt >= PROGRESS_EVERY_MS) this.#tellProgress(progress);
    else this.#untold = progress;
  }

  warn(message: string): void {
    this.#tell({ event: 'warning', message });
  }

  waiting(message: string): void {
    this.#tell({ event: 'waiting', message });
  }

  workFinished({ outcome, exitCode }: FinishedWork): void {
    this.#tell({ event: 'job-finished', outcome, exitCode });
  }

  jobFinished(report: RunReport): void {
    this.#held.release();
    this.workFinished(report);
    this.#output.result?.(report);
  }
}
