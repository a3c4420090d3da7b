import { constants, createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { runCommand } from '../../system/run-command.js';
import { copyFailure } from '../copy-error.js';
import { streamStored } from '../stored/stored-file.js';
import { parseRecord, type DigestRecord } from './digest-record.js';

/** Little, so that it is garbage while it is young. */
const WRITE_AT_CHARACTERS = 32 * 1024;
/** What a kill takes with it. */
const WRITE_AFTER_MS = 250;

/**
 * A stream to a file (0600) that is begun anew, or gone on with. Never through a symlink: lists lie on disks that others had in
 * hand.
 */
export function writeStream(file: string, flags: 'w' | 'a'): WriteStream {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_NOFOLLOW } = constants;
  const wanted: unknown = O_WRONLY | O_CREAT | O_NOFOLLOW | (flags === 'w' ? O_TRUNC : O_APPEND);
  // Its types know flags as words alone; it hands whatever they are to open(2) as `fs.open` does.
  return createWriteStream(file, { flags: wanted as string, mode: 0o600 });
}

/** Writes lines to a file (0600) in large pieces. What it cannot write, `close` rejects with. */
export class LineWriter {
  readonly #stream: WriteStream;
  readonly #finished: Promise<void>;
  #text = '';
  #timer: NodeJS.Timeout | undefined;

  /** `flags`: `w` to begin anew, `a` to go on. */
  constructor(file: string, flags: 'w' | 'a') {
    this.#stream = writeStream(file, flags);
    this.#finished = finished(this.#stream);
    // Told by `close`, which somebody awaits.
    this.#finished.catch(() => undefined);
  }

  /** For callers that cannot wait here: what the disk does not take at once is held in memory, see `untilTaken`. */
  add(line: string): void {
    this.#text += `${line}\n`;
    if (this.#text.length >= WRITE_AT_CHARACTERS) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), WRITE_AFTER_MS).unref();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#text !== '' && !this.#stream.destroyed) this.#stream.write(this.#text, 'latin1');
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
    this.#write();
    if (!this.#stream.destroyed) this.#stream.end();
    await this.#finished;
  }
}

/** Longer than any line: a path, and what it is linked to, each of whose bytes may be written as `\ooo`; and what is before. */
const MAX_LINE_CHARACTERS = 64 * 1024;

/** The lines of a file, some at a time; of one that ends in `.gz` unpacked. Rejects for what has no lines, too. */
export async function* readBatches(file: string): AsyncGenerator<string[]> {
  const source = await streamStored(file);
  const input: Readable = file.endsWith('.gz') ? source.pipe(createGunzip()) : source;
  if (input !== source) source.on('error', (error) => input.destroy(error));
  input.setEncoding('latin1');
  let partial = '';
  try {
    for await (const chunk of input as AsyncIterable<string>) {
      const lines = (partial + chunk).split('\n');
      partial = lines.pop() ?? '';
      if (partial.length > MAX_LINE_CHARACTERS) throw new Error(`${file} has a line without an end`);
      yield lines;
    }
    if (partial !== '') yield [partial];
  } finally {
    source.destroy();
  }
}

/** The records of a file, some at a time: to wait for each alone takes longer than all that is done with it. */
export async function* readRecordBatches(file: string): AsyncGenerator<DigestRecord[]> {
  for await (const lines of readBatches(file)) yield lines.map(parseRecord);
}

export async function* readRecords(file: string): AsyncGenerator<DigestRecord> {
  for await (const records of readRecordBatches(file)) yield* records;
}

/**
 * Sorts a file, or several together, by a field, by its bytes, in bounded memory; of equal ones the order stays. Rejects as a
 * copy that failed, and as one that has no room when its directory has none.
 */
export async function sortLines(
  from: string | readonly string[],
  to: string,
  field: number,
  directory: string,
): Promise<void> {
  const result = await runCommand([
    'sort',
    '--stable',
    '--field-separator= ',
    `--key=${field},${field}`,
    '--buffer-size=64M',
    `--temporary-directory=${directory}`,
    `--output=${to}`,
    '--',
    ...[from].flat(),
  ]);
  if (result.exitCode !== 0) throw copyFailure('sort', result);
}
