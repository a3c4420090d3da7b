import { createHash, hash, type Hash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';

/** A member of an archive. Names are bytes, one character each. */
export interface TarMember {
  /** ustar's: `0` file, `1` hard link, `2` symlink, `3` and `4` device, `5` directory, `6` FIFO. */
  type: string;
  path: string;
  linkPath: string;
  /** Of a file, holes included. */
  sizeBytes: number;
}

/** Gets each member: before its data (`undefined`) and after, with the SHA-256 of the data as it is stored. */
export type OnMember = (member: TarMember, digest: string | undefined) => void;

const BLOCK = 512;
/** Of no data. */
const EMPTY = hash('sha256', '', 'hex');

function parsePax(bytes: Buffer): Map<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(bytes.toString('latin1', at, space));
    if (space === -1 || !Number.isInteger(length) || length <= 0 || at + length > bytes.length) {
      throw new Error('an extended header of the archive is damaged');
    }
    const record = bytes.toString('latin1', space + 1, at + length - 1);
    const equals = record.indexOf('=');
    found.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return found;
}

function text(header: Buffer, start: number, length: number): string {
  const field = header.toString('latin1', start, start + length);
  const end = field.indexOf('\0');
  return end === -1 ? field : field.slice(0, end);
}

/** Octal, or base-256 with the high bit set. */
function number(header: Buffer, start: number, length: number): number {
  if (((header[start] ?? 0) & 0x80) !== 0) {
    return header.subarray(start + 1, start + length).reduce((sum, byte) => sum * 256 + byte, 0);
  }
  return Number.parseInt(text(header, start, length).trim() || '0', 8);
}

function requireChecksum(header: Buffer): void {
  // With the checksum's own field as blanks: POSIX, "ustar Interchange Format".
  let sum = 8 * 0x20;
  for (let index = 0; index < BLOCK; index += 1) {
    if (index < 148 || index >= 156) sum += header[index] ?? 0;
  }
  if (sum !== number(header, 148, 8)) throw new Error('a header of the archive is damaged');
}

function named(header: Buffer): string {
  const prefix = text(header, 345, 155);
  const name = text(header, 0, 100);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/**
 * Passes a POSIX archive (pax, GNU's sparse files in it) through unchanged and tells of its members. Fails when a
 * header is damaged. Its memory is that of one extended header.
 */
export class TarStream extends Transform {
  readonly #onMember: OnMember;
  readonly #untilTaken: (() => Promise<void> | undefined) | undefined;
  #header: Buffer = Buffer.alloc(0);
  #pax = new Map<string, string>();
  #meta: Buffer[] | undefined;
  #member: TarMember | undefined;
  #hash: Hash | undefined;
  #digest: string | undefined;
  #left = 0;
  #padding = 0;
  #isEnded = false;

  /** `untilTaken`: asked after each piece; what it returns is waited for, and must not reject. */
  constructor(onMember: OnMember, untilTaken?: () => Promise<void> | undefined) {
    super({ highWaterMark: 1024 * 1024 });
    this.#onMember = onMember;
    this.#untilTaken = untilTaken;
  }

  /** Whether the mark of the archive's end has come. */
  get isWhole(): boolean {
    return this.#isEnded;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      for (let at = 0; at < chunk.length && !this.#isEnded;) at += this.#take(chunk.subarray(at));
    } catch (error) {
      done(error as Error);
      return;
    }
    const taken = this.#untilTaken?.();
    if (taken === undefined) done(undefined, chunk);
    else this.#after(taken, chunk, done);
  }

  /** Passes a chunk on once what its members gave is taken; that never rejects. */
  #after(taken: Promise<void>, chunk: Buffer, done: TransformCallback): void {
    void (async () => {
      await taken;
      done(undefined, chunk);
    })();
  }

  /** Takes what it can of `bytes` and tells how many that were. */
  #take(bytes: Buffer): number {
    if (this.#left > 0) {
      const data = bytes.subarray(0, this.#left);
      if (this.#member !== undefined) this.#digestOf(data);
      this.#meta?.push(Buffer.from(data));
      this.#left -= data.length;
      if (this.#left === 0) this.#dataEnds();
      return data.length;
    }
    if (this.#padding > 0) {
      const skipped = Math.min(this.#padding, bytes.length);
      this.#padding -= skipped;
      return skipped;
    }
    const part = bytes.subarray(0, BLOCK - this.#header.length);
    this.#header = this.#header.length === 0 ? part : Buffer.concat([this.#header, part]);
    if (this.#header.length === BLOCK) {
      const header = this.#header;
      this.#header = Buffer.alloc(0);
      this.#headerEnds(header);
    }
    return part.length;
  }

  /** A hash object lives until the garbage is collected, outside of the heap: most members come in one piece and need none. */
  #digestOf(data: Buffer): void {
    if (this.#hash === undefined && data.length === this.#left) this.#digest = hash('sha256', data, 'hex');
    else {
      this.#hash ??= createHash('sha256');
      this.#hash.update(data);
    }
  }

  #headerEnds(header: Buffer): void {
    if (header.every((byte) => byte === 0)) {
      this.#isEnded = true;
      return;
    }
    requireChecksum(header);
    const type = text(header, 156, 1) || '0';
    const stored = Number(this.#pax.get('size') ?? number(header, 124, 12));
    this.#left = stored;
    this.#padding = (BLOCK - (stored % BLOCK)) % BLOCK;
    if (type === 'x' || type === 'g') {
      this.#meta = type === 'x' ? [] : undefined;
    } else {
      const pax = this.#pax;
      this.#pax = new Map();
      const path = pax.get('GNU.sparse.name') ?? pax.get('path') ?? named(header);
      const real = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size');
      this.#member = {
        type: type === '7' ? '0' : type,
        path,
        linkPath: pax.get('linkpath') ?? text(header, 157, 100),
        sizeBytes: type === '0' || type === '7' ? Number(real ?? stored) : 0,
      };
      this.#onMember(this.#member, undefined);
    }
    if (stored === 0) this.#dataEnds();
  }

  #dataEnds(): void {
    if (this.#meta !== undefined) {
      this.#pax = parsePax(Buffer.concat(this.#meta));
      this.#meta = undefined;
    } else if (this.#member !== undefined) {
      this.#onMember(this.#member, this.#digest ?? this.#hash?.digest('hex') ?? EMPTY);
    }
    this.#member = undefined;
    this.#hash = undefined;
    this.#digest = undefined;
  }
}
