import { errnoOf, FsbackupError, messageOf, type ErrorDetails } from '../errors.js';
import { describeFailure, type CommandResult } from '../system/run-command.js';
import { withoutNames } from './rsync/rsync-output.js';

/** A copy that lost its connection to the source or the target: another try may well succeed. */
export class ConnectionLostError extends FsbackupError {
  constructor(message: string, details: ErrorDetails) {
    super('copyFailed', message, details);
    this.name = 'ConnectionLostError';
  }
}

/** True for a failure of a copy that is worth another try. */
export function isRetryable(error: unknown): boolean {
  return error instanceof ConnectionLostError;
}

const MAKE_ROOM = 'Make room where it writes to (or mount it read-write), then run it again.';
const RECONNECT = 'Check the connection to the source and the target, then run it again.';

/** A copy whose target takes nothing more: it is full, or may not be written to. */
class TargetRefusesError extends FsbackupError {
  constructor(message: string, cause?: unknown) {
    super('copyFailed', message, { hint: MAKE_ROOM, cause });
    this.name = 'TargetRefusesError';
  }
}

/** Of a program that says in words of its own that it has no room, and how much it asked for. */
export function noRoom(program: string, said: string): FsbackupError {
  return new TargetRefusesError(`the copy failed: ${program}: No space left: ${said}`);
}

/** EIO, EUCLEAN, ENODEV, ENXIO: what a disk says that breaks, or is gone. */
export const DISK_BROKEN = /Input\/output error|Structure needs cleaning|No such device/i;

/** True for a failure of which nothing that was copied is to stay: there is no room for it, or the disk that holds it fails. */
export function isRefusal(error: unknown): boolean {
  return error instanceof TargetRefusesError || DISK_BROKEN.test(messageOf(error));
}

/** What a copy rejects with that was aborted. */
export function copyStopped(): FsbackupError {
  return new FsbackupError('copyFailed', 'the copy was stopped', {
    hint: 'Run it again; what was written so far is incomplete.',
  });
}

/**
 * strerror(3) in the C locale for ENOSPC, EDQUOT, EROFS, which Go writes in lower case: nothing more can be written. tar has other words for a write
 * that was cut short by it.
 */
export const TARGET_REFUSES =
  /No space left on device|out of space|space quota exceeded|Disk quota exceeded|Read-only file system|Wrote only \d+ of \d+ bytes/i;
/** The same for ETIMEDOUT, ESTALE, ENOTCONN, ECONNRESET, EHOSTDOWN: what a network filesystem answers. */
const CONNECTION_LOST =
  /Connection timed out|Stale file handle|Transport endpoint is not connected|Connection reset by peer|Host is down/i;

/** What tar and rsync say last only sums up what they said before. */
const SUMMARY = /^(?:tar: (?:Exiting with failure|Child returned|Error is not recoverable)|rsync error: )/;

function withReasonLast(result: CommandResult): CommandResult {
  const lines = result.stderr.trim().split('\n');
  const reasons = lines.filter((line) => !SUMMARY.test(line));
  return reasons.length === 0 ? result : { ...result, stderr: reasons.join('\n') };
}

/** What to tell of a program that ended a copy. `lost` says that its exit code alone means a lost connection. */
export function copyFailure(program: string, result: CommandResult, lost = false): FsbackupError {
  const message = `the copy failed: ${describeFailure(program, withReasonLast(result))}`;
  if (result.aborted) return copyStopped();
  if (result.notFound) {
    return new FsbackupError('usage', `${program} is not installed`, {
      hint: `Install it: apt install ${program}.`,
    });
  }
  const said = program === 'rsync' ? withoutNames(result.stderr) : result.stderr;
  const refused = TARGET_REFUSES.exec(said)?.[0];
  if (refused !== undefined) {
    return new TargetRefusesError(`the copy failed: ${program}: ${refused}`);
  }
  if (lost || CONNECTION_LOST.test(said)) {
    return new ConnectionLostError(message, {
      hint: RECONNECT,
    });
  }
  return new FsbackupError('copyFailed', message, {
    hint: 'Mend what it names, then run it again; what was written so far is incomplete.',
  });
}

/** The errnos of Node's own calls that mean what `TARGET_REFUSES` and `CONNECTION_LOST` mean in a program's words. */
const REFUSED_ERRNOS = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);
const LOST_ERRNOS = new Set(['ETIMEDOUT', 'ESTALE', 'ENOTCONN', 'ECONNRESET', 'EHOSTDOWN']);

/** Runs one copy; a system error that it meets on its own, not in a program, rejects as `copyFailed` too. */
export async function withCopyErrors<T>(copy: () => Promise<T>): Promise<T> {
  try {
    return await copy();
  } catch (error) {
    const errno = errnoOf(error);
    if (error instanceof FsbackupError || errno === undefined) throw error;
    const message = `the copy failed: ${messageOf(error)}`;
    if (LOST_ERRNOS.has(errno)) {
      throw new ConnectionLostError(message, {
        hint: RECONNECT,
        cause: error,
      });
    }
    if (REFUSED_ERRNOS.has(errno)) throw new TargetRefusesError(message, error);
    throw new FsbackupError('copyFailed', message, {
      hint: 'Mend what it names, then run it again.',
      cause: error,
    });
  }
}

/** Runs a restore: what engines and programs call a failed copy is told as what it is to whoever restores. */
export async function asRestoreErrors<T>(restore: () => Promise<T>): Promise<T> {
  try {
    return await restore();
  } catch (error) {
    if (!(error instanceof FsbackupError) || error.code !== 'copyFailed') throw error;
    const { code, message, hint, below } = error;
    const told = message.replace(/^the copy (?=failed: |was stopped$)/, 'the restore ');
    throw new FsbackupError(code, told, { hint, below, cause: error });
  }
}

/** How many paths are told of those that could not be copied. */
export const MAX_UNREADABLE = 100;

/** Collects paths that could not be copied: each once, the first `MAX_UNREADABLE`. */
export class UnreadablePaths {
  readonly #paths = new Set<string>();

  add(path: string): void {
    if (this.#paths.size < MAX_UNREADABLE) this.#paths.add(path);
  }

  get paths(): string[] {
    return [...this.#paths];
  }
}
