import { Writable } from 'node:stream';
import { HashingStream } from '../stream-pipe.js';

/**
 * Passes on what is written to its inlet, but not that this has ended: a program that stores what it reads takes the end
 * of its input for the end of the backup. `end()` is for when it is known to be whole. Until then whoever reads this
 * stream must be ended before it is destroyed.
 */
export class GatedStream extends HashingStream {
  readonly inlet = new Writable({
    highWaterMark: 1024 * 1024,
    write: (chunk: Buffer, _encoding, done) => {
      this.write(chunk, done);
    },
  });

  /** `bytesPerSecond`: as of a `PacedStream`. */
  constructor(bytesPerSecond?: number) {
    super(undefined, bytesPerSecond);
    // A write that was not passed on would wait for ever.
    this.once('close', () => this.inlet.destroy());
  }
}
