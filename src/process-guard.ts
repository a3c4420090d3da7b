import { fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { errnoOf, messageOf } from './errors.js';

/** `fd`: what it writes to, where that is known. */
type Output = Writable & { fd?: number };

/** What of a process is guarded. */
export interface GuardedProcess {
  stdout: Output;
  stderr: Output;
  exitCode?: number | string | null | undefined;
}

/** Of a terminal that hung up before we began, isatty(3) says no. */
function isTerminal({ fd }: Output): boolean {
  try {
    return fd !== undefined && fstatSync(fd).isCharacterDevice();
  } catch {
    return false;
  }
}

/** Nobody reads any more: a pipe's reader left (`| head`), a terminal hung up. EIO of a file is its disk's. */
function isReaderGone(error: Error, stream: Output): boolean {
  const errno = errnoOf(error);
  return errno === 'EPIPE' || (errno === 'EIO' && isTerminal(stream));
}

/**
 * Writes a text and tells whether it got where it leads: false when that failed, of which the guard tells. A reader that left
 * is no failure.
 */
export async function isWritten(stream: Output, text: string | Uint8Array): Promise<boolean> {
  const error = await new Promise<Error | null | undefined>((resolve) => {
    stream.write(text, resolve);
  });
  return error === null || error === undefined || isReaderGone(error, stream);
}

const guarded = new WeakSet<Output>();

/**
 * Keeps a failing stdout or stderr from ending the process in the middle of its work: a run that holds a snapshot
 * has things to release. A reader that left is ignored; any other failure (a full or broken disk under a redirection) is
 * told and turns exit 0 into 1, since the output is not what was asked for. Idempotent.
 */
export function guardOutputs(target: GuardedProcess, tell: (message: string) => void): void {
  for (const stream of [target.stdout, target.stderr]) {
    if (guarded.has(stream)) continue;
    guarded.add(stream);
    // oclif's own listener throws for all but EPIPE, which would end the process.
    stream.removeAllListeners('error');
    stream.on('error', (error: Error) => {
      if (isReaderGone(error, stream)) return;
      target.exitCode ??= 1;
      if (stream !== target.stderr) tell(`cannot write the output: ${messageOf(error)}`);
    });
  }
}
