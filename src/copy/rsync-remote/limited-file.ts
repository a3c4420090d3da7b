import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { Writable } from 'node:stream';

/** Writes a file (0600) that somebody else sends, and fails when it becomes larger than it may. */
export class LimitedFile extends Writable {
  readonly #file: WriteStream;
  readonly #limit: number;
  #bytes = 0;
  /** True: that is why it failed. */
  isTooMuch = false;

  /** Replaces what has the name. */
  constructor(file: string, limitBytes: number) {
    super();
    this.#limit = limitBytes;
    this.#file = createWriteStream(file, { mode: 0o600 });
    this.#file.on('error', (error) => this.destroy(error));
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#bytes += chunk.length;
    this.isTooMuch = this.#bytes > this.#limit;
    if (this.isTooMuch) done(new Error(`more than ${this.#limit} bytes were sent`));
    else this.#file.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#file.end(done);
  }

  /** Once nobody writes to it any more, however that ended. Rejects never. */
  async close(): Promise<void> {
    if (this.#file.closed) return;
    const closed = once(this.#file, 'close');
    // What was written is on its way to the disk in order.
    if (!this.#file.writableEnded) this.#file.end();
    await closed.catch(() => undefined);
  }
}
