import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { runAtMost } from './run-at-most.js';

const ANSWER_TIMEOUT_MS = 10_000;

/**
 * Makes sure that a filesystem answers to who would write. rmdir(2) of a name that is not there changes nothing, and yet
 * waits for the thaw of a frozen filesystem, and fails with EROFS on a read-only one, before it looks for the name:
 * the kernel asks for write access first. In a child, since that wait cannot be ended by a signal.
 *
 * Rejects with `notFrozen` for one that is frozen or does not answer, with the signal's reason when that is aborted;
 * resolves to what it answered.
 */
export async function requireAnswer(
  directory: string,
  { signal, timeoutMs = ANSWER_TIMEOUT_MS }: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<string> {
  const absent = path.join(directory, `.fsbackup-${randomBytes(8).toString('hex')}`);
  const result = await runAtMost(['rmdir', '--', absent], {
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  signal?.throwIfAborted();
  if (result.timedOut) {
    throw new FsbackupError(
      'notFrozen',
      `${directory} cannot be written to: its filesystem is frozen, or hangs`,
      {
        hint: 'See who holds it (fsbackup status), and have it thawed; nothing was written.',
      },
    );
  }
  return result.stderr.trim();
}

/**
 * Makes sure that a directory can be written to now. Rejects as `requireAnswer`, and with `usage` for a read-only
 * filesystem.
 */
export async function requireWritable(directory: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<void> {
  const answer = await requireAnswer(directory, { timeoutMs });
  if (answer.includes('No such file or directory')) return;
  const why = answer.split(': ').at(-1) ?? '';
  throw new FsbackupError('usage', `${directory} cannot be written to: ${why}`, {
    hint: 'Mount it read-write (mount -o remount,rw), or restore with --to DIR.',
  });
}
