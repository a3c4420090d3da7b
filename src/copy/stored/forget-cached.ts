import type { runCommand } from '../../system/run-command.js';

const TIMEOUT_MS = 60_000;

/**
 * Has the kernel forget what it has of a file in memory (posix_fadvise(2), POSIX_FADV_DONTNEED), so that whoever reads it next reads
 * the disk: what was written a moment ago would be compared with itself. What is not on disk yet, or mapped, stays; whether it
 * could be forgotten is not told.
 */
export async function forgetCached(file: string, run: typeof runCommand): Promise<void> {
  // dd(1): "Request to drop cache for a file" is this, with no data copied.
  await run(['dd', `if=${file}`, 'iflag=nocache', 'count=0', 'status=none'], { timeoutMs: TIMEOUT_MS });
}
