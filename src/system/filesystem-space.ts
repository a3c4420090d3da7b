import { FsbackupError } from '../errors.js';
import { runCommand } from './run-command.js';

/** The answer of statfs(2). */
export interface Space {
  /** Free, the share reserved for root included. */
  freeBytes: number;
  totalBytes: number;
  blockSizeBytes: number;
}

/** How long a filesystem may take to answer statfs(2) before it counts as dead. */
const ANSWER_TIMEOUT_MS = 10_000;

/**
 * The room on the filesystem that holds `path`; undefined when the path cannot be reached. Asked in a child: a dead
 * NFS or FUSE server would block a thread of this process for ever, and its exit with it. To be called before anything
 * else touches a path that may lie on one. Rejects with `notFrozen` when no answer comes.
 */
export async function readSpace(path: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<Space | undefined> {
  const result = await runCommand(['stat', '--file-system', '--format=%f %b %S', '--', path], { timeoutMs });
  if (result.timedOut) {
    throw new FsbackupError('notFrozen', `${path} does not answer: its filesystem hangs`, {
      hint: 'See what serves it (a network or FUSE server that is down, a filesystem that somebody froze), and bring that back.',
    });
  }
  if (result.exitCode !== 0) return undefined;
  const [free = 0, total = 0, blockSize = 0] = result.stdout.trim().split(' ').map(Number);
  return { freeBytes: free * blockSize, totalBytes: total * blockSize, blockSizeBytes: blockSize };
}
