import { lstat, mkdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import type { FilesystemIdentity } from '../../system/filesystem-identity.js';
import { exists } from '../../system/exists.js';
import { withHeldFilesystems } from '../../system/held-filesystem.js';
import type { EngineName } from '../../engine-names.js';
import { engineFor, type EngineFor } from '../engines.js';
import { adoptInterrupted, keepInterrupted } from './interrupted-backup.js';
import { removeStored } from './remove-stored.js';
import { backupDirectory, dataDirectory, jobDirectory, type BackupRef } from './backup-layout.js';
import { withCopyErrors } from '../copy-error.js';
import { requireOnDisk, type OnDisk } from '../on-disk.js';
import { manifestFile, writeManifest, type Manifest } from './manifest.js';
import { isRealDirectory } from '../stored/real-directory.js';
import { requireBackupStorage } from '../target/target-storage.js';
import { removeTree } from '../remove-tree.js';
import { requireTrustedJob } from '../target/trusted-target.js';

/** There may be a directory already. Anything else of that name is an error, a symlink to a directory too. */
async function makePrivate(directory: string): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST' || (await isRealDirectory(directory)) !== true) throw error;
  }
}

/**
 * Makes the directories of a backup (0700), empty, or holding what a run of the job that was broken off copied, where that
 * was kept and the engine goes on from it: it is incomplete until `completeBackup`. The target must exist. `beforeWriting` is
 * called with a directory of the filesystem that it will be on. Rejects with `copyFailed`, for an id that is taken too.
 */
export async function beginBackup(
  ref: BackupRef,
  {
    canGoOn = false,
    beforeWriting,
  }: { canGoOn?: boolean; beforeWriting?: (directory: string) => Promise<void> } = {},
): Promise<void> {
  await withCopyErrors(async () => {
    await makePrivate(jobDirectory(ref));
    await beforeWriting?.(jobDirectory(ref));
    if (!(await adoptInterrupted(ref, canGoOn))) await mkdir(backupDirectory(ref), { mode: 0o700 });
    await makePrivate(dataDirectory(ref));
  });
}

/**
 * Makes a backup complete: all of its data is on disk before its manifest is, and the manifest is there whole or not
 * at all, whenever power fails. `held`: its filesystem, since before anything of it was written; without it, what others
 * were told of meanwhile is not known here. Rejects with `copyFailed`.
 */
export async function completeBackup(ref: BackupRef, manifest: Manifest, held?: OnDisk): Promise<void> {
  await withCopyErrors(async () => {
    if (held === undefined)
      await withHeldFilesystems([backupDirectory(ref)], (anew) => requireOnDisk(anew, 'the copy'));
    else await requireOnDisk([held], 'the copy');
    await writeManifest(ref, manifest);
  });
}

/**
 * Removes a backup that has no manifest, and tells what it found. One that has a manifest, be it damaged, is kept;
 * so is everything when a filesystem is mounted in it (rejects with `cleanupIncomplete`), or when somebody else could make
 * root remove something elsewhere (`usage`). What the engine that wrote it keeps elsewhere goes first. With `mayKeep`
 * what the next run of the job can go on from stays for it, under another name (`keepInterrupted`); `held` as of
 * `completeBackup`, where this process wrote it. Idempotent.
 * Rejects with `AbsentStorageError` where it is not there, and neither is the filesystem `storage` that it was begun on.
 */
export async function discardIncomplete(
  ref: BackupRef,
  engine?: EngineName,
  engines: EngineFor = engineFor,
  {
    mayKeep = false,
    held,
    storage,
  }: {
    mayKeep?: boolean;
    held?: OnDisk | undefined;
    storage?: FilesystemIdentity | undefined;
  } = {},
): Promise<'removed' | 'absent' | 'kept' | { keptIn: string }> {
  const named = backupDirectory(ref);
  if (!(await exists(named))) {
    await requireBackupStorage('the incomplete backup', ref, storage);
    return 'absent';
  }
  await requireTrustedJob(ref);
  if (await exists(manifestFile(ref))) return 'kept';
  // The target may be reached by a symlink, the backup in it must not be one.
  const directory = path.join(await realpath(path.dirname(named)), path.basename(named));
  if (!(await lstat(directory)).isDirectory()) {
    throw new FsbackupError('cleanupIncomplete', `${directory} is not removed: it is not a directory`, {
      hint: 'See what it is, and remove it by hand.',
    });
  }
  const keptIn = mayKeep ? await keepInterrupted(ref, held) : undefined;
  if (keptIn !== undefined) return { keptIn };
  if (engine !== undefined) await removeStored(ref, { directory, engine, engines });
  await removeTree(directory);
  return 'removed';
}
