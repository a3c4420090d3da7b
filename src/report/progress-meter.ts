import type { CopyProgress } from '../copy/engine.js';
import { formatBytes, formatFiles, formatMs } from './format.js';

/** The rate is of the last so many milliseconds: it follows a slow disk, and does not jump with every file. */
const WINDOW_MS = 10_000;
/** Before that, a rate would be a guess. */
const SETTLED_MS = 1000;
/** Samples closer than this to the one before are left out: of thousands a second the window would be long. */
const SAMPLE_EVERY_MS = 100;

interface Sample {
  at: number;
  bytes: number;
  files: number;
}

/** What can be told of one copy beside its counts; undefined where it is not known, or not yet. */
export interface ProgressEstimate {
  bytesPerSecond: number | undefined;
  /** By bytes where their total is known, else by files. */
  secondsLeft: number | undefined;
}

/** Turns the counts of one copy into rate and time left, and into a line. */
export class ProgressMeter {
  readonly #now: () => number;
  #samples: Sample[] = [];

  /** `now`: milliseconds, never going back. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Another copy begins. */
  reset(): void {
    this.#samples = [];
  }

  /** Notes where the copy is. */
  take({ bytes, files }: CopyProgress): void {
    const at = this.#now();
    const last = this.#samples.at(-1);
    // A second attempt counts from the start again.
    if (last !== undefined && (bytes < last.bytes || files < last.files)) this.reset();
    const before = this.#samples.at(-2);
    if (last !== undefined && before !== undefined && at - before.at < SAMPLE_EVERY_MS) this.#samples.pop();
    this.#samples.push({ at, bytes, files });
    // One sample older than the window stays, so that there is always a span to divide by.
    while ((this.#samples[1]?.at ?? at) < at - WINDOW_MS) this.#samples.shift();
  }

  /** What the samples that were taken say. */
  estimate({ bytes, files, totalBytes, totalFiles }: CopyProgress): ProgressEstimate {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.at - first.at < SETTLED_MS) {
      return { bytesPerSecond: undefined, secondsLeft: undefined };
    }
    const seconds = (last.at - first.at) / 1000;
    const bytesPerSecond = Math.round((last.bytes - first.bytes) / seconds);
    const filesPerSecond = (last.files - first.files) / seconds;
    const left = (total: number | undefined, done: number, rate: number): number | undefined =>
      total !== undefined && total > done && rate > 0 ? Math.ceil((total - done) / rate) : undefined;
    return {
      bytesPerSecond,
      secondsLeft:
        totalBytes === undefined
          ? left(totalFiles, files, filesPerSecond)
          : left(totalBytes, bytes, bytesPerSecond),
    };
  }

  /** Takes a sample, and tells: `1.2 GB of 3.4 GB · 512 files · 85 MB/s · 26 s left`. */
  line(progress: CopyProgress): string {
    this.take(progress);
    const { bytesPerSecond, secondsLeft } = this.estimate(progress);
    const { bytes, files, totalBytes, totalFiles } = progress;
    const parts = [
      totalBytes === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
      totalFiles === undefined ? formatFiles(files) : `${files} of ${formatFiles(totalFiles)}`,
    ];
    if (bytesPerSecond !== undefined) parts.push(`${formatBytes(bytesPerSecond)}/s`);
    if (secondsLeft !== undefined) {
      // Whole seconds: tenths of an estimate only flicker.
      parts.push(`${formatMs(secondsLeft * 1000).replace('.0 s', ' s')} left`);
    }
    return parts.join(' · ');
  }
}
