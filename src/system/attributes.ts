import { errnoOf } from '../errors.js';
import { readAttributes } from './native.js';

/** Extended attributes by their names, one character for each byte. */
export type Attributes = ReadonlyMap<string, Buffer>;

const FIRST_ROOM = 4096;
/** Linux bounds a value and the list of names by 64 KiB each, and not how many there are. */
const MOST_ROOM = 64 * 1024 ** 2;
const LENGTH_BYTES = 4;
const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function parse(bytes: Buffer): Attributes {
  const found = new Map<string, Buffer>();
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(0, at);
    const start = end + 1 + LENGTH_BYTES;
    const length = new DataView(bytes.buffer, bytes.byteOffset + end + 1).getUint32(0, isLittleEndian);
    found.set(bytes.toString('latin1', at, end), bytes.subarray(start, start + length));
    at = start + length;
  }
  return found;
}

/** Those of a file, or of a symlink itself. None where its filesystem has no such thing. Rejects with what the kernel says. */
export async function attributesOf(file: Buffer): Promise<Attributes> {
  for (let room = FIRST_ROOM; ; room *= 16) {
    const into = Buffer.allocUnsafe(room);
    try {
      return parse(into.subarray(0, await readAttributes(file, into)));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOTSUP' || errno === 'EOPNOTSUPP') return new Map();
      if (errno !== 'ERANGE' || room > MOST_ROOM) throw error;
    }
  }
}
