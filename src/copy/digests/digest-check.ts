import { createReadStream } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { unescapePath } from './digest-record.js';

/** `TYPE DIGEST SIZE PATH`, the path escaped. */
const LINE = /^[fdLDS] (?:[0-9a-f]{32}|[?-]) \d{1,16} ([!-~]+)$/;
/** PATH_MAX, and `\ooo` for each of its bytes; and what comes before. */
const MAX_LINE_CHARACTERS = 4 * 4096 + 128;

function isInside(path: string): boolean {
  const names = unescapePath(path).split('/');
  return names.every((name) => name !== '' && name !== '.' && name !== '..' && !name.includes('\0'));
}

/** Whether each line is a record, of a path inside of the backup, and comes after the one before. */
class ListCheck extends Writable {
  #partial = '';
  #last = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    const lines = (this.#partial + chunk.toString('latin1')).split('\n');
    this.#partial = lines.pop() ?? '';
    const isGood = this.#partial.length <= MAX_LINE_CHARACTERS && lines.every((line) => this.#isNext(line));
    done(isGood ? undefined : new Error('not a list of digests'));
  }

  override _final(done: (error?: Error) => void): void {
    done(this.#partial === '' ? undefined : new Error('not a list of digests'));
  }

  #isNext(line: string): boolean {
    const path = LINE.exec(line)?.[1];
    if (path === undefined || !isInside(path) || path <= this.#last) return false;
    this.#last = path;
    return true;
  }
}

/** Whether a packed file that came from elsewhere is a list of digests as this host would write it. Rejects never. */
export async function isDigestList(file: string): Promise<boolean> {
  try {
    await pipeline(createReadStream(file), createGunzip(), new ListCheck());
    return true;
  } catch {
    return false;
  }
}
