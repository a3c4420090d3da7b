import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { exists } from '../../system/exists.js';
import { isBackupId } from '../backup/backup-layout.js';
import { MANIFEST } from '../backup/manifest.js';

/** The target that a directory lies in, if it is that of a job in it, or that of a backup. */
async function targetAround(directory: string): Promise<string | undefined> {
  const isBackup = async (one: string): Promise<boolean> =>
    isBackupId(path.basename(one)) && (await exists(path.join(one, MANIFEST)));
  if (await isBackup(directory)) return path.join(directory, '../..');
  // What cannot be read is told by who reads it.
  for (const name of await readdir(directory).catch(() => []))
    if (await isBackup(path.join(directory, name))) return path.dirname(directory);
  return undefined;
}

/** Rejects with `usage` for a directory within a target: as a target it would have no backups. */
export async function requireWholeTarget(directory: string): Promise<void> {
  const target = await targetAround(directory);
  if (target === undefined) return;
  throw new FsbackupError('usage', `${directory} is a directory within a target`, {
    hint: `Name the target itself: --from ${target}`,
  });
}
