import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { runAtMost } from './run-at-most.js';

const ANSWER_TIMEOUT_MS = 10_000;

/**
 * Makes sure that a directory can be written to now. rmdir(2) of a name that is not there changes nothing, and yet
 * waits for the thaw of a frozen filesystem, and fails with EROFS on a read-only one, before it looks for the name:
 * the kernel asks for write access first. In a child, since that wait cannot be ended by a signal.
 *
 * Rejects with `usage` for a read-only filesystem, with `notFrozen` for one that is frozen or does not answer.
 */
export async function requireWritable(directory: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<void> {
  const absent = path.join(directory, `.fsbackup-${randomBytes(8).toString('hex')}`);
  const result = await runAtMost(['rmdir', '--', absent], { timeoutMs });
  if (result.timedOut) {
    throw new FsbackupError(
      'notFrozen',
      `${directory} cannot be written to: its filesystem is frozen, or hangs`,
      {
        hint: 'See who holds it (fsbackup status), and have it thawed; nothing was written.',
      },
    );
  }
  if (result.stderr.includes('No such file or directory')) return;
  const why = result.stderr.trim().split(': ').at(-1) ?? '';
  throw new FsbackupError('usage', `${directory} cannot be written to: ${why}`, {
    hint: 'Mount it read-write (mount -o remount,rw), or restore with --to DIR.',
  });
}
