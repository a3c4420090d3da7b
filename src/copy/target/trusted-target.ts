import { FsbackupError } from '../../errors.js';
import { requireTrustedPath } from '../../system/trusted-path.js';
import { shellWord } from '../../system/command-line.js';
import { jobDirectory, type BackupRef } from '../backup/backup-layout.js';
import { isRealDirectory } from '../stored/real-directory.js';

const OTHERWISE =
  'where that cannot be said (a share of the network, a disk without owners), mount it below a directory that root alone may enter (chmod 700)';

/**
 * Rejects with `usage` when somebody else than root could make a target lead elsewhere: root makes directories in it,
 * renames and removes them, and whoever may put a symlink in their place has root do that wherever they like.
 */
export async function requireTrustedTarget(target: string): Promise<void> {
  await requireTrustedPath(target, {
    what: 'the target',
    why: 'Whoever may change it can have root write and remove elsewhere.',
    otherwise: OTHERWISE,
  });
}

/**
 * The same of the directory of a job in a target, which may not be there yet, and is no symlink: whoever had the disk in hand
 * would have root write backups, and remove them, where it leads, and nothing lists them there.
 */
export async function requireTrustedJob(job: Pick<BackupRef, 'target' | 'job'>): Promise<void> {
  const directory = jobDirectory(job);
  await requireTrustedTarget(directory);
  if ((await isRealDirectory(directory)) !== false) return;
  throw new FsbackupError('usage', `${directory} is not a directory, but a file or a symlink`, {
    hint: `The backups of a job lie in its target itself. See what it is, then: rm ${shellWord(directory)}; or name another target.`,
  });
}
