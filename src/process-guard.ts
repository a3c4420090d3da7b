import type { Writable } from 'node:stream';
import { errnoOf, messageOf } from './errors.js';

/** What of a process is guarded. */
export interface GuardedProcess {
  stdout: Writable;
  stderr: Writable;
  exitCode?: number | string | null | undefined;
}

/** Nobody reads any more: a pipe's reader left (`| head`), a terminal hung up. */
const READER_GONE = new Set(['EPIPE', 'EIO']);

const guarded = new WeakSet<Writable>();

/**
 * Keeps a failing stdout or stderr from ending the process in the middle of its work: a run that holds a snapshot
 * has things to release. A reader that left is ignored; any other failure (a full disk under a redirection) is told
 * and turns exit 0 into 1, since the output is not what was asked for. Idempotent.
 */
export function guardOutputs(target: GuardedProcess, tell: (message: string) => void): void {
  for (const stream of [target.stdout, target.stderr]) {
    if (guarded.has(stream)) continue;
    guarded.add(stream);
    // oclif's own listener throws for all but EPIPE, which would end the process.
    stream.removeAllListeners('error');
    stream.on('error', (error: Error) => {
      if (READER_GONE.has(errnoOf(error) ?? '')) return;
      target.exitCode ??= 1;
      if (stream !== target.stderr) tell(`cannot write the output: ${messageOf(error)}`);
    });
  }
}
