import type { BackupTarget } from '../../backup-target.js';
import { messageOf } from '../../errors.js';
import { readVerifications, verificationsFrom, type Verifications } from './verify-history.js';

/**
 * What is known of the backups of a job, for somebody who waits for their data: where the history cannot be read, that is
 * a warning, and nothing is known.
 */
export async function knownVerifications(
  job: string,
  targets: Iterable<BackupTarget>,
  warn: (message: string) => void,
  read: typeof readVerifications = readVerifications,
): Promise<Verifications> {
  try {
    return await read([job], targets);
  } catch (error) {
    warn(`whether a backup failed its last verify is not known here: ${messageOf(error)}`);
    return verificationsFrom([]);
  }
}
