import { createHash } from 'node:crypto';
import type { CommandResult, runCommand } from '../system/run-command.js';
import { copyFailure } from './copy-error.js';
import { PacedStream } from './pace.js';

const HEAD_BYTES = 1024;

/** Passes a stream on unchanged, counts it, keeps how it begins, and makes its SHA-256. */
export class HashingStream extends PacedStream {
  readonly #hash = createHash('sha256');
  readonly #onBytes: (bytes: number) => void;
  bytes = 0;
  /** The first bytes of it, 1024 at most. */
  head: Buffer = Buffer.alloc(0);

  /** `bytesPerSecond`: as of a `PacedStream`. */
  constructor(onBytes: (bytes: number) => void = () => undefined, bytesPerSecond?: number) {
    super(bytesPerSecond);
    this.#onBytes = onBytes;
  }

  protected override saw(chunk: Buffer): void {
    this.#hash.update(chunk);
    if (this.head.length < HEAD_BYTES) {
      const wanted = chunk.subarray(0, HEAD_BYTES - this.head.length);
      this.head = Buffer.concat([this.head, wanted]);
    }
    this.bytes += chunk.length;
    this.#onBytes(this.bytes);
  }

  /** Once, after the end. */
  digest(): string {
    return this.#hash.digest('hex');
  }
}

/** Two programs, the first of which feeds the second. */
export interface Piped {
  from: readonly [string, ...string[]];
  to: readonly [string, ...string[]];
  through: HashingStream;
  signal: AbortSignal;
  /** Runs the second one, where that is more than to start it. */
  take?: (through: HashingStream) => Promise<CommandResult>;
}

/** Runs both to their ends. */
export async function pipePrograms(
  { from, to, through, signal, take = (stdinFrom) => run(to, { signal, stdinFrom }) }: Piped,
  run: typeof runCommand,
): Promise<{ sent: CommandResult; taken: CommandResult }> {
  const [sent, taken] = await Promise.all([
    run(from, { signal, stdoutTo: through }).finally(() => {
      // It ended the stream, if it was ever started.
      if (!through.writableEnded) through.end();
    }),
    take(through).finally(() => {
      // The first must not wait for ever for somebody who reads on.
      through.destroy();
    }),
  ]);
  return { sent, taken };
}

/** As `pipePrograms`; rejects with `copyFailed` unless both succeeded. */
export async function mustPipe(piped: Piped, run: typeof runCommand): Promise<void> {
  const { sent, taken } = await pipePrograms(piped, run);
  // First what stopped the other one: a broken pipe is no news when the target is full.
  if (taken.exitCode !== 0) throw copyFailure(piped.to[0], taken);
  if (sent.exitCode !== 0) throw copyFailure(piped.from[0], sent);
}
