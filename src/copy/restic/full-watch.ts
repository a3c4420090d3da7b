import type { Space } from '../../system/filesystem-space.js';

/** Two packs of restic's default size: with less, what it has still to store may not fit. */
const FULL_BELOW_BYTES = 32 * 1024 ** 2;
const CHECK_INTERVAL_MS = 20_000;

/** What is watched, and how. */
export interface FullWatchOptions {
  /** The room of the filesystem that is written to. */
  readSpace: () => Promise<Space | undefined>;
  /** Ends the program. */
  stop: () => void;
  checkIntervalMs?: number;
  /** How fast the program may write: with a limit it may well stand still for as long as what it holds takes to go. */
  limitBytesPerSecond?: number | undefined;
}

/**
 * Ends a program that does nothing any more on a filesystem that is full. restic 0.14 waits for itself for ever, and says
 * nothing, when the disk fills up while it stores the last of what it has read: `Flush` hands a pack to uploaders that
 * have ended (seen in its goroutines: packerUploader.QueuePacker).
 */
export class FullWatch {
  readonly #options: FullWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #hasMoved = true;
  #progress = '';
  /** Whether this ended the program. */
  isFull = false;

  constructor(options: FullWatchOptions) {
    this.#options = options;
    const { checkIntervalMs = CHECK_INTERVAL_MS, limitBytesPerSecond } = options;
    const heldMs = limitBytesPerSecond === undefined ? 0 : (FULL_BELOW_BYTES / limitBytesPerSecond) * 1000;
    this.#timer = setInterval(() => void this.#check(), Math.max(checkIntervalMs, heldMs));
    this.#timer.unref();
  }

  /** Gets how far the program is, in whatever words. */
  did(progress: string): void {
    if (progress === this.#progress) return;
    this.#progress = progress;
    this.#hasMoved = true;
  }

  async #check(): Promise<void> {
    const hasMoved = this.#hasMoved;
    this.#hasMoved = false;
    if (hasMoved) return;
    try {
      const space = await this.#options.readSpace();
      if (this.#hasMoved || space === undefined || space.freeBytes >= FULL_BELOW_BYTES) return;
    } catch {
      // A target that does not answer is for others to judge.
      return;
    }
    this.isFull = true;
    this.end();
    this.#options.stop();
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
