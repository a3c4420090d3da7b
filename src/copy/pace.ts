import { Transform, type TransformCallback } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** What was not used of the rate is made up for within it: timers come late. */
const CATCH_UP_MS = 50;
/** Of a stream that is slowed down, so much goes at a time: as much as the rate allows in this. */
const PIECE_MS = 50;
const MIN_PIECE_BYTES = 512;
/** A stream holds it while what it was given waits. */
const BUFFER_BYTES = 1024 * 1024;
const LIMITED_BUFFER_BYTES = 64 * 1024;

/** The clock, and how to wait by it; milliseconds. */
export interface PaceClock {
  now: () => number;
  sleep: (ms: number) => Promise<unknown>;
}

const CLOCK: PaceClock = { now: () => performance.now(), sleep: (ms) => sleep(ms) };

/** Lets so many bytes a second go, and none the sooner for having waited before. */
export class Pace {
  readonly #bytesPerMs: number;
  readonly #clock: PaceClock;
  #nextMs: number;
  /** More at a time would come in bursts. */
  readonly pieceBytes: number;

  constructor(bytesPerSecond: number, clock: PaceClock = CLOCK) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
    this.#nextMs = clock.now();
    this.pieceBytes = Math.max(MIN_PIECE_BYTES, Math.floor(this.#bytesPerMs * PIECE_MS));
  }

  /** Resolves when these may go. Never rejects. */
  async take(bytes: number): Promise<void> {
    const now = this.#clock.now();
    const waitMs = this.#nextMs - now;
    this.#nextMs = Math.max(this.#nextMs, now - CATCH_UP_MS) + bytes / this.#bytesPerMs;
    if (waitMs >= 1) await this.#clock.sleep(waitMs);
  }
}

/**
 * Passes a stream on unchanged, so many bytes a second at most; undefined: as fast as it is taken. Who ends what feeds it
 * before its end destroys it: what it holds would go on at its pace.
 */
export class PacedStream extends Transform {
  readonly #pace: Pace | undefined;

  constructor(bytesPerSecond: number | undefined) {
    super({ highWaterMark: bytesPerSecond === undefined ? BUFFER_BYTES : LIMITED_BUFFER_BYTES });
    this.#pace = bytesPerSecond === undefined ? undefined : new Pace(bytesPerSecond);
  }

  /** Gets each piece before it goes. */
  protected saw(_chunk: Buffer): void {
    // Nothing to see.
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.saw(chunk);
    if (this.#pace === undefined) done(undefined, chunk);
    else void this.#slowly(chunk, this.#pace, done);
  }

  async #slowly(chunk: Buffer, pace: Pace, done: TransformCallback): Promise<void> {
    for (let at = 0; at < chunk.length; at += pace.pieceBytes) {
      const piece = chunk.subarray(at, at + pace.pieceBytes);
      await pace.take(piece.length);
      if (this.destroyed) break;
      this.push(piece);
    }
    done();
  }
}

/** A rate as programs are told of it that count in KiB: never more than it is, and never none, which to them is no limit. */
export function kibPerSecond(bytesPerSecond: number): number {
  return Math.max(1, Math.floor(bytesPerSecond / 1024));
}
