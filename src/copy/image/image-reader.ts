import { createHash } from 'node:crypto';
import path from 'node:path';
import { Writable } from 'node:stream';
import { messageOf } from '../../errors.js';
import { describeFailure, type CommandResult, type runCommand } from '../../system/run-command.js';
import { chunksFile, readMap, type ImageLink, type MapLine } from './image-contents.js';
import { requireStored } from '../stored/stored-file.js';

/** Gets each line of a map, with what is stored of it. Zeros have nothing stored. */
export type OnPiece = (line: MapLine, bytes: Buffer | undefined) => Promise<void>;

/** What is wrong with a stored image: a clause. */
export class DamagedImage extends Error {}

/** A promise for those who want a callback. */
async function tellWhenDone(work: Promise<void>, done: (error?: Error) => void): Promise<void> {
  let failure: Error | undefined;
  try {
    await work;
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  done(failure);
}

/** Cuts a stream of pieces as the map says, and checks each against its digest. */
class PieceStream extends Writable {
  readonly #map: AsyncGenerator<MapLine>;
  readonly #onPiece: OnPiece;
  #line: MapLine | undefined;
  #buffer = Buffer.alloc(0);
  #filled = 0;

  constructor(map: AsyncGenerator<MapLine>, onPiece: OnPiece) {
    super({ highWaterMark: 1024 * 1024 });
    this.#map = map;
    this.#onPiece = onPiece;
  }

  /** Takes the next line of which something is stored, past those that are zero. */
  async #next(): Promise<MapLine | undefined> {
    for (;;) {
      const next = await this.#map.next();
      if (next.done === true) return undefined;
      if (next.value.digest !== 'zero') return next.value;
      await this.#onPiece(next.value, undefined);
    }
  }

  async #take(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      this.#line ??= await this.#next();
      const line = this.#line;
      if (line === undefined) throw new DamagedImage('more is stored than the map has');
      if (this.#filled === 0) this.#buffer = Buffer.allocUnsafe(line.length);
      const copied = chunk.copy(this.#buffer, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled < line.length) continue;
      const digest = createHash('sha256').update(this.#buffer).digest('hex');
      if (digest !== line.digest)
        throw new DamagedImage(`the piece at ${line.offset} is not what was read of the device`);
      await this.#onPiece(line, this.#buffer);
      this.#line = undefined;
      this.#filled = 0;
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    void tellWhenDone(this.#take(chunk), done);
  }

  async #end(): Promise<void> {
    if (this.#line === undefined && (await this.#next()) === undefined) return;
    throw new DamagedImage('less is stored than the map has');
  }

  override _final(done: (error?: Error) => void): void {
    void tellWhenDone(this.#end(), done);
  }
}

/**
 * Reads one backup's part of an image, every piece checked. Rejects with `DamagedImage` when it is not what was written,
 * with what `onPiece` rejects with, and with what zstd came to when that was stopped or is not there.
 */
export async function readPieces(
  { dataDirectory, image }: ImageLink,
  { map, signal, onPiece }: { map: string; signal: AbortSignal; onPiece: OnPiece },
  run: typeof runCommand,
): Promise<CommandResult> {
  const file = path.join(dataDirectory, chunksFile(image.name));
  await requireStored(file);
  const lines = readMap(path.join(dataDirectory, map));
  const pieces = new PieceStream(lines, onPiece);
  let failure: Error | undefined;
  pieces.on('error', (error) => {
    failure ??= error;
  });
  let result: CommandResult;
  try {
    result = await run(['zstd', '-q', '--decompress', '--stdout', '--', file], { signal, stdoutTo: pieces });
  } finally {
    // Where the two do not agree it is not read to its end.
    await lines.return(undefined);
  }
  if (result.aborted || result.notFound) return result;
  if (failure !== undefined && !(failure instanceof DamagedImage && result.exitCode === 1)) throw failure;
  if (result.exitCode !== 0) throw new DamagedImage(describeFailure('zstd', result));
  return result;
}

/** What is wrong, for a list of problems. */
export function describeDamage({ image }: ImageLink, error: unknown): string {
  return `${image.name}: ${messageOf(error)}`;
}
