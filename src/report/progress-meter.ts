import type { CopyProgress } from '../copy/engine.js';
import { formatBytes, formatFiles, formatMs } from './format.js';

/** The rate is of the last so many milliseconds: it follows a slow disk, and does not jump with every file. */
const WINDOW_MS = 10_000;
/** Before that, a rate would be a guess. */
const SETTLED_MS = 1000;

/** Turns the counts of one copy into a line: bytes, files, rate, time left. */
export class ProgressMeter {
  readonly #now: () => number;
  #samples: { at: number; bytes: number }[] = [];

  /** `now`: milliseconds, never going back. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Another copy begins. */
  reset(): void {
    this.#samples = [];
  }

  /** `1.2 GB of 3.4 GB · 512 files · 85 MB/s · 26 s left`; rate and time left once they are known. */
  line(progress: CopyProgress): string {
    const rate = this.#bytesPerSecond(progress.bytes);
    const { bytes, files, totalBytes, totalFiles } = progress;
    const parts = [
      totalBytes === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
      totalFiles === undefined ? formatFiles(files) : `${files} of ${formatFiles(totalFiles)}`,
    ];
    if (rate !== undefined) parts.push(`${formatBytes(rate)}/s`);
    if (rate !== undefined && rate > 0 && totalBytes !== undefined && totalBytes > bytes) {
      // Whole seconds: tenths of an estimate only flicker.
      parts.push(`${formatMs(Math.ceil((totalBytes - bytes) / rate) * 1000).replace('.0 s', ' s')} left`);
    }
    return parts.join(' · ');
  }

  #bytesPerSecond(bytes: number): number | undefined {
    const at = this.#now();
    const last = this.#samples.at(-1);
    // A second attempt counts from the start again.
    if (last !== undefined && bytes < last.bytes) this.reset();
    this.#samples.push({ at, bytes });
    // One sample older than the window stays, so that there is always a span to divide by.
    while ((this.#samples[1]?.at ?? at) < at - WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    if (first === undefined || at - first.at < SETTLED_MS) return undefined;
    return Math.round(((bytes - first.bytes) * 1000) / (at - first.at));
  }
}
