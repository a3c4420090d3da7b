import { createHash } from 'node:crypto';
import { open, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import type { runCommand } from '../../system/run-command.js';
import { copyFailure } from '../copy-error.js';
import { packInto } from '../packed-file.js';
import { LineWriter } from '../digests/digest-lines.js';
import { sha256Of } from '../stored/stored-file.js';
import { chunksOf, type Extent } from './extents.js';
import { chunksFile, formatMapLine, mapFile, type MapLine } from './image-contents.js';
import type { StoredFile } from '../filesystem/sent-digests.js';
import { withPrivateFile } from '../stored/private-file.js';

/** Of the device, read and checked at a time. */
const CHUNK_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** What is to be stored of a device. */
export interface ImageToWrite {
  device: string;
  name: string;
  /** To be read. */
  extents: readonly Extent[];
  /** Known to be zero now, without being read. */
  zeros: readonly Extent[];
  dataDirectory: string;
  signal: AbortSignal;
  limitBytesPerSecond?: number | undefined;
  /** So many bytes of the device have been read. */
  onBytes: (bytes: number) => void;
}

/** What was stored. */
export interface WrittenImage {
  readBytes: number;
  storedBytes: number;
  map: StoredFile;
}

/** Writes a map: what is zero and adjacent as one line. */
class MapWriter {
  readonly #lines: LineWriter;
  #zero: Extent | undefined;

  constructor(lines: LineWriter) {
    this.#lines = lines;
  }

  add(line: MapLine): void {
    if (line.digest !== 'zero') {
      this.flush();
      this.#lines.add(formatMapLine(line));
    } else if (this.#zero !== undefined && this.#zero.offset + this.#zero.length === line.offset) {
      this.#zero.length += line.length;
    } else {
      this.flush();
      this.#zero = { offset: line.offset, length: line.length };
    }
  }

  flush(): void {
    if (this.#zero !== undefined) this.#lines.add(formatMapLine({ ...this.#zero, digest: 'zero' }));
    this.#zero = undefined;
  }
}

async function readFully(handle: FileHandle, { offset, length }: Extent): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) throw new Error(`the device ends at ${offset + done}`);
    done += bytesRead;
  }
  return buffer;
}

/** Reads what is asked for of a device and stores it, each piece with its SHA-256. Rejects with `copyFailed`. */
export async function writeImage(image: ImageToWrite, run: typeof runCommand): Promise<WrittenImage> {
  const { device, name, extents, zeros, dataDirectory, signal, limitBytesPerSecond, onBytes } = image;
  const tally = { readBytes: 0, storedBytes: 0 };
  const mapPath = path.join(dataDirectory, mapFile(name));
  const lines = new LineWriter(mapPath, 'w');
  const map = new MapWriter(lines);
  for (const { offset, length } of zeros) map.add({ offset, length, digest: 'zero' });
  map.flush();
  const handle = await open(device, 'r');
  let failure: unknown;
  const chunks = async function* read(): AsyncGenerator<Buffer> {
    try {
      for (const chunk of chunksOf(extents, CHUNK_BYTES)) {
        if (signal.aborted) return;
        const bytes = await readFully(handle, chunk);
        tally.readBytes += chunk.length;
        onBytes(tally.readBytes);
        if (bytes.equals(ZEROS.subarray(0, chunk.length))) {
          map.add({ ...chunk, digest: 'zero' });
          continue;
        }
        map.add({ ...chunk, digest: createHash('sha256').update(bytes).digest('hex') });
        tally.storedBytes += chunk.length;
        yield bytes;
      }
    } catch (error) {
      failure = error;
    }
  };
  try {
    await lines.closeAfter(async () => {
      const stdinFrom = Readable.from(chunks(), { objectMode: false, highWaterMark: CHUNK_BYTES });
      const file = path.join(dataDirectory, chunksFile(name));
      const packed = await withPrivateFile(file, () =>
        packInto(file, { stdinFrom, signal, limitBytesPerSecond }, run),
      );
      if (packed.exitCode !== 0) throw copyFailure('zstd', packed);
      // oxlint-disable-next-line typescript/only-throw-error -- what the reading of the device threw
      if (failure !== undefined) throw failure;
      map.flush();
    });
  } finally {
    await handle.close();
  }
  const { size } = await stat(mapPath);
  return { ...tally, map: { name: mapFile(name), sha256: await sha256Of(mapPath), bytes: size } };
}
