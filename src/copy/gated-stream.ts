import type { TransformCallback } from 'node:stream';
import { HashingStream } from './stream-pipe.js';

/**
 * Passes a stream on, but not that it has ended, until it is known that it is whole: a program that stores what it reads
 * takes the end of its input for the end of the backup.
 */
export class GatedStream extends HashingStream {
  #allow: () => void = () => undefined;
  readonly #allowed = new Promise<void>((resolve) => {
    this.#allow = resolve;
  });

  /** All that came was right: its end may be told. Until then whoever reads it must be ended before it is destroyed. */
  allowEnd(): void {
    this.#allow();
  }

  override _flush(done: TransformCallback): void {
    void this.#allowed.then(() => done());
  }
}
