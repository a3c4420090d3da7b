import { targetName, localRepository, type BackupTarget } from '../../backup-target.js';
import { AbsentStorageError, FsbackupError } from '../../errors.js';
import { exists } from '../../system/exists.js';
import type { BackupRef } from './backup-layout.js';

/** The directory of this host that a repository is; undefined for one far away, or that commands alone reach. */
export function repositoryHere(target: BackupTarget): string | undefined {
  return target.repository?.commands === undefined ? localRepository(target) : undefined;
}

/**
 * How it is told that an engine could not remove a backup from where it keeps it: as a removal, whatever the engine calls it.
 * From a repository that is not there, or far away, it is an `AbsentStorageError`: what stays there if somebody says that
 * the repository is gone for good is a backup too many.
 */
export async function unremoved(
  { job, backupId }: Pick<BackupRef, 'job' | 'backupId'>,
  target: BackupTarget,
  cause: unknown,
): Promise<unknown> {
  if (!(cause instanceof FsbackupError)) return cause;
  const [backup, where] = [`backup ${backupId} of ${job}`, targetName(target)];
  const why = cause.message.replace(/^the copy failed: /, '');
  const message = `${backup} could not be removed from ${where}: ${why}`;
  const details = { hint: cause.hint.replace(/; what was written so far is incomplete\.$/, '.'), cause };
  if (target.repository === undefined) return new FsbackupError('cleanupIncomplete', message, details);
  const local = repositoryHere(target);
  if (local !== undefined && (await exists(local)))
    return new FsbackupError('cleanupIncomplete', message, details);
  return new AbsentStorageError(message, {
    ...details,
    left: `${backup} in ${where}`,
    findDevice: async () => await Promise.resolve(undefined),
  });
}
