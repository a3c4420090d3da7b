import { createReadStream, createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { describeFailure, runCommand } from '../system/run-command.js';
import { formatRecord, parseRecord, type DigestRecord } from './digest-record.js';

/** Little, so that it is garbage while it is young. */
const WRITE_AT_CHARACTERS = 32 * 1024;

/** Writes lines to a file (0600) in large pieces. What it cannot write, `close` rejects with. */
export class LineWriter {
  readonly #stream: WriteStream;
  readonly #finished: Promise<void>;
  #text = '';

  /** `flags`: `w` to begin anew, `a` to go on. */
  constructor(file: string, flags: 'w' | 'a') {
    this.#stream = createWriteStream(file, { flags, mode: 0o600 });
    this.#finished = finished(this.#stream);
    // Told by `close`, which somebody awaits.
    this.#finished.catch(() => undefined);
  }

  /** For callers that cannot wait here: what the disk does not take at once is held in memory, see `untilTaken`. */
  add(line: string): void {
    this.#text += `${line}\n`;
    if (this.#text.length < WRITE_AT_CHARACTERS) return;
    this.#stream.write(this.#text, 'latin1');
    this.#text = '';
  }

  /** Until the disk has taken what was added; undefined when it has. Never rejects: `close` tells of failures. */
  untilTaken(): Promise<void> | undefined {
    if (!this.#stream.writableNeedDrain || this.#stream.destroyed) return undefined;
    return Promise.race([once(this.#stream, 'drain'), this.#finished]).then(
      () => undefined,
      () => undefined,
    );
  }

  /** As `add`, waiting for the disk. */
  async addAll(lines: AsyncIterable<string>): Promise<void> {
    for await (const line of lines) {
      this.add(line);
      await this.untilTaken();
    }
  }

  /** Closes once `work` is done. Where both fail, it is the failure of `work` that counts. */
  async closeAfter(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.close().catch(() => undefined);
      throw error;
    }
    await this.close();
  }

  async close(): Promise<void> {
    if (!this.#stream.destroyed) this.#stream.end(this.#text, 'latin1');
    this.#text = '';
    await this.#finished;
  }
}

/** The lines of a file; of one that ends in `.gz` unpacked. */
export async function* readLines(file: string): AsyncGenerator<string> {
  const source = createReadStream(file);
  const input: Readable = file.endsWith('.gz') ? source.pipe(createGunzip()) : source;
  if (input !== source) source.on('error', (error) => input.destroy(error));
  input.setEncoding('latin1');
  const lines = createInterface({ input, crlfDelay: Infinity });
  // readline does not pass on an error of what it reads.
  let failure: Error | undefined;
  input.on('error', (error) => {
    failure = error;
    lines.close();
  });
  try {
    for await (const line of lines) yield line;
    // oxlint-disable-next-line typescript/only-throw-error -- an Error, set by the listener above
    if (failure !== undefined) throw failure;
  } finally {
    lines.close();
    source.destroy();
  }
}

export async function* readRecords(file: string): AsyncGenerator<DigestRecord> {
  for await (const line of readLines(file)) yield parseRecord(line);
}

export async function* linesOf(records: AsyncIterable<DigestRecord>): AsyncGenerator<string> {
  for await (const record of records) yield formatRecord(record);
}

/** Sorts a file by a field, by its bytes, in bounded memory; of equal ones the order stays. */
export async function sortLines(from: string, to: string, field: number, directory: string): Promise<void> {
  const result = await runCommand([
    'sort',
    '--stable',
    '--field-separator= ',
    `--key=${field},${field}`,
    '--buffer-size=64M',
    `--temporary-directory=${directory}`,
    `--output=${to}`,
    '--',
    from,
  ]);
  if (result.exitCode !== 0) throw new Error(describeFailure('sort', result));
}
