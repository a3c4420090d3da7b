import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import type { BackupRef } from './backup-layout.js';
import { targetAt } from '../repository/catalogue.js';
import type { EngineName } from '../../engine-names.js';
import type { EngineFor } from '../engines.js';
import type { FilesystemIdentity } from '../../system/filesystem-identity.js';
import { requireStorage } from '../target/target-storage.js';
import { repositoryHere, unremoved } from './unremoved.js';
import { isRealDirectory } from '../stored/real-directory.js';

/** What is going, and who made it. */
export interface StoredBackup {
  /** Where the backup's directory is now. */
  directory: string;
  engine: EngineName;
  engines: EngineFor;
  /** The filesystem that a repository on this host was on; undefined where nobody wrote it down. */
  storage?: FilesystemIdentity | undefined;
}

/**
 * Takes away what an engine keeps of a backup elsewhere than in its directory: to be called before that goes, since it
 * tells where. Idempotent. Rejects as `unremoved` tells, with `AbsentStorageError` where the filesystem of a repository is not
 * there, and with `cleanupIncomplete` where `data` leads elsewhere: an engine
 * removes what it finds in there. The backup's directory is then to stay.
 */
export async function removeStored(
  ref: BackupRef,
  { directory, engine, engines, storage }: StoredBackup,
): Promise<void> {
  const data = path.join(directory, 'data');
  const isDirectory = await isRealDirectory(data);
  // Gone with an earlier removal that did not come to its end, after the engine's part.
  if (isDirectory === undefined) return;
  if (!isDirectory) {
    throw new FsbackupError('cleanupIncomplete', `${directory} is not removed: data in it is no directory`, {
      hint: 'See what it is, and remove it by hand.',
    });
  }
  const { job, backupId } = ref;
  const target = await targetAt(ref.target);
  const repository = repositoryHere(target);
  if (repository !== undefined) {
    const stored = { what: `backup ${backupId} of ${job}`, directory: repository };
    await requireStorage({ ...stored, name: stored.what }, storage);
  }
  try {
    await engines({ ...target, engine }).remove?.({ dataDirectory: data, backup: { job, backupId } });
  } catch (error) {
    throw await unremoved(ref, target, error);
  }
}
