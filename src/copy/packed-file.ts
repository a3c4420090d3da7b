import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoOf, messageOf } from '../errors.js';
import type { CommandResult, runCommand } from '../system/run-command.js';
import { PacedStream } from './pace.js';

/** What packs, for messages. */
export const PACKER = ['zstd', '-q', '-T0'] as const;

/** What is packed, and how fast it may be written. */
export interface Packing {
  stdinFrom: Readable;
  signal: AbortSignal;
  /** Of what is packed already; undefined: as fast as the disk takes it. */
  limitBytesPerSecond?: number | undefined;
}

/** What a program would say of the disk. */
function wordsOf(error: unknown): string {
  return errnoOf(error) === 'EIO' ? 'Input/output error' : messageOf(error);
}

/**
 * Has zstd pack a stream into a file, over what is there. What the disk did not take is a failure of zstd's. With a limit the
 * packed bytes pass through us, without one zstd writes the file itself.
 */
export async function packInto(
  file: string,
  { stdinFrom, signal, limitBytesPerSecond }: Packing,
  run: typeof runCommand,
): Promise<CommandResult> {
  if (limitBytesPerSecond === undefined)
    return await run([...PACKER, '-f', '-o', file], { signal, stdinFrom });
  const paced = new PacedStream(limitBytesPerSecond);
  const written = pipeline(paced, createWriteStream(file, { mode: 0o600 })).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  const stop = (): void => void paced.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const packed = await run(PACKER, { signal, stdinFrom, stdoutTo: paced });
    // It ended the stream, if it was ever started.
    if (!paced.writableEnded) paced.end();
    const failed = await written;
    if (failed === undefined || packed.aborted) return packed;
    // zstd itself tells of a broken pipe alone.
    return {
      ...packed,
      exitCode: packed.exitCode === 0 ? 1 : packed.exitCode,
      stderr: wordsOf(failed.error),
    };
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
