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
  entries: number;
}

/** What can be told of one copy beside its counts; undefined where it is not known, or not yet. */
export interface ProgressEstimate {
  bytesPerSecond: number | undefined;
  /** By bytes where their total is known, else by files, else by entries. */
  secondsLeft: number | undefined;
}

/** What was counted, by the name of what it is; nothing where it was not. */
function countOf({ files, totalFiles, entries, totalEntries }: CopyProgress): string[] {
  if (files > 0 && totalFiles !== undefined) return [`${files} of ${formatFiles(totalFiles)}`];
  if (entries !== undefined && totalEntries !== undefined)
    return [`${entries} of ${totalEntries} files and directories`];
  return files > 0 ? [formatFiles(files)] : [];
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
  take({ bytes, files, entries = 0 }: CopyProgress): void {
    const at = this.#now();
    const last = this.#samples.at(-1);
    // A second attempt counts from the start again.
    if (last !== undefined && (bytes < last.bytes || files < last.files)) this.reset();
    const before = this.#samples.at(-2);
    if (last !== undefined && before !== undefined && at - before.at < SAMPLE_EVERY_MS) this.#samples.pop();
    this.#samples.push({ at, bytes, files, entries });
    // One sample older than the window stays, so that there is always a span to divide by.
    while ((this.#samples[1]?.at ?? at) < at - WINDOW_MS) this.#samples.shift();
  }

  /** What the samples that were taken say. */
  estimate(progress: CopyProgress): ProgressEstimate {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.at - first.at < SETTLED_MS) {
      return { bytesPerSecond: undefined, secondsLeft: undefined };
    }
    const seconds = (last.at - first.at) / 1000;
    const bytesPerSecond = Math.round((last.bytes - first.bytes) / seconds);
    const left = (total: number, done: number, rate: number): number | undefined =>
      total > done && rate > 0 ? Math.ceil((total - done) / rate) : undefined;
    const { bytes, files, entries = 0, totalBytes, totalFiles, totalEntries } = progress;
    const secondsLeft =
      totalBytes !== undefined
        ? left(totalBytes, bytes, bytesPerSecond)
        : totalFiles !== undefined
          ? left(totalFiles, files, (last.files - first.files) / seconds)
          : totalEntries !== undefined
            ? left(totalEntries, entries, (last.entries - first.entries) / seconds)
            : undefined;
    return { bytesPerSecond, secondsLeft };
  }

  /** Takes a sample, and tells: `1.2 GB of 3.4 GB · 512 files · 85 MB/s · 26 s left`. */
  line(progress: CopyProgress): string {
    this.take(progress);
    const { bytesPerSecond, secondsLeft } = this.estimate(progress);
    const { bytes, totalBytes } = progress;
    const parts = [
      totalBytes === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
      ...countOf(progress),
    ];
    if (bytesPerSecond !== undefined) parts.push(`${formatBytes(bytesPerSecond)}/s`);
    if (secondsLeft !== undefined) {
      // Whole seconds: tenths of an estimate only flicker.
      parts.push(`${formatMs(secondsLeft * 1000).replace('.0 s', ' s')} left`);
    }
    return parts.join(' · ');
  }
}
