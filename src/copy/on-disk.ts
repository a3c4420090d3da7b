import { FsbackupError, messageOf } from '../errors.js';
import type { HeldFilesystem } from '../system/held-filesystem.js';

/** What tells whether all that was written since it was opened is on disk. */
export type OnDisk = Pick<HeldFilesystem, 'sync'>;

/**
 * Writes back what is dirty. Rejects with `copyFailed` when something that was written to these filesystems since they were
 * opened may be lost. `what` was written, a noun phrase in the singular.
 */
export async function requireOnDisk(held: readonly OnDisk[], what: string): Promise<void> {
  try {
    for (const filesystem of held) await filesystem.sync();
  } catch (error) {
    throw new FsbackupError('copyFailed', `${what} may not be on disk: ${messageOf(error)}`, {
      hint: 'See the kernel log (dmesg) for errors of the disk that it was written to.',
      cause: error,
    });
  }
}
