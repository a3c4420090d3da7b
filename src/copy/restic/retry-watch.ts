import { DISK_BROKEN, TARGET_REFUSES } from '../copy-error.js';

/**
 * Ends a program that tries again and again what cannot succeed: at once when its target is full, read-only or a disk that is
 * broken or gone, after a while when the connection does not come back.
 */
export class RetryWatch {
  readonly #stop = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #patienceMs: number;
  #timer: NodeJS.Timeout | undefined;
  #bytes = 0;
  /** Whether this, and nobody else, ended the program: for want of a connection. */
  gaveUp = false;

  constructor(patienceMs: number, outer?: AbortSignal) {
    this.#patienceMs = patienceMs;
    this.#outer = outer;
  }

  /** For the program. */
  get signal(): AbortSignal {
    return this.#outer === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, this.#outer]);
  }

  /** Gets what the program says on stderr. */
  said(line: string): void {
    if (!/retrying after/.test(line)) return;
    if (TARGET_REFUSES.test(line) || DISK_BROKEN.test(line)) this.#stop.abort();
    this.#timer ??= setTimeout(() => {
      this.gaveUp = true;
      this.#stop.abort();
    }, this.#patienceMs);
  }

  /** Gets how much the program has done. */
  did(bytes: number): void {
    if (bytes > this.#bytes) this.#calm();
    this.#bytes = Math.max(this.#bytes, bytes);
  }

  #calm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  end(): void {
    this.#calm();
  }
}
