import { open, type FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { FsbackupError } from '../errors.js';

/** Writes a file (0600) that somebody else sends, and fails when it becomes larger than they said. */
export class LimitedFile extends Writable {
  readonly #handle: FileHandle;
  readonly #limit: number;
  #bytes = 0;

  private constructor(handle: FileHandle, limitBytes: number) {
    super();
    this.#handle = handle;
    this.#limit = limitBytes;
  }

  /** Replaces what has the name. */
  static async create(file: string, limitBytes: number): Promise<LimitedFile> {
    return new LimitedFile(await open(file, 'w', 0o600), limitBytes);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limit) {
      done(
        new FsbackupError(
          'copyFailed',
          `the other host sends more than the ${this.#limit} bytes that it told of`,
          {
            hint: 'See what it keeps there, and whether it is the host that you mean.',
          },
        ),
      );
      return;
    }
    this.#handle.appendFile(chunk).then(() => done(), done);
  }

  /** Once nobody writes to it any more, however that ended. */
  async close(): Promise<void> {
    await this.#handle.close();
  }
}
