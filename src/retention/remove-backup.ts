import { lstat, open, readdir, realpath, rename } from 'node:fs/promises';
import path from 'node:path';
import { backupDirectory, isBackupId, jobDirectory, type BackupRef } from '../copy/backup/backup-layout.js';
import type { EngineName } from '../engine-names.js';
import { readManifest, readManifestIn } from '../copy/backup/manifest.js';
import { engineFor, type EngineFor } from '../copy/engines.js';
import { removeStored } from '../copy/backup/remove-stored.js';
import { repositoryHere } from '../copy/backup/unremoved.js';
import { targetAt } from '../copy/repository/catalogue.js';
import { targetName } from '../backup-target.js';
import { requireBackupStorage, storageAt } from '../copy/target/target-storage.js';
import { removeTree } from '../copy/remove-tree.js';
import { requireTrustedJob } from '../copy/target/trusted-target.js';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import type { FilesystemIdentity } from '../system/filesystem-identity.js';
import { exists } from '../system/exists.js';
import type { Journal } from '../journal/journal.js';
import { isWithin, mountsShowing, readMounts } from '../system/mountinfo.js';
import { shellWord, suggested } from '../system/command-line.js';

/** A backup that is being removed: no listing knows it, and nothing is made from it. */
const PREFIX = '.removing-';

function removingDirectory(ref: BackupRef): string {
  return path.join(jobDirectory(ref), `${PREFIX}${path.basename(backupDirectory(ref))}`);
}

function stillThere(what: string, why: string, hint: string, cause?: unknown): FsbackupError {
  return new FsbackupError('cleanupIncomplete', `${what} is not removed: ${why}`, { hint, cause });
}

const SEE = 'See what it is, and remove it by hand.';

/**
 * The directory of a removal, free of symlinks, and the engine that its manifest tells. Rejects with
 * `cleanupIncomplete` unless the manifest is the backup's.
 */
async function provenDirectory(
  ref: BackupRef,
): Promise<{ directory: string; engine: EngineName | undefined }> {
  const named = removingDirectory(ref);
  const directory = path.join(await realpath(path.dirname(named)), path.basename(named));
  if (!(await lstat(directory)).isDirectory()) throw stillThere(directory, 'it is not a directory', SEE);
  const found = await readManifestIn(directory, ref);
  if (found.state === 'complete') return { directory, engine: found.manifest.engine };
  // The manifest goes with the last of it: what has no directory any more holds no data.
  const entries = await readdir(directory, { withFileTypes: true });
  if (found.state === 'incomplete' && !entries.some((entry) => entry.isDirectory())) {
    return { directory, engine: undefined };
  }
  if (found.state === 'damaged') throw stillThere(directory, found.problem, SEE);
  throw stillThere(directory, 'no manifest in it says that fsbackup made it', SEE);
}

/**
 * Ends a removal that was begun; nothing to do when it was not. Rejects with `AbsentStorageError` when it is not to be seen,
 * since the target, or a repository on this host, is not on the filesystem `storage` that it was begun on. What the engine keeps elsewhere goes first, the manifest, which proves whose directory it is, goes
 * last. Idempotent. Rejects with `cleanupIncomplete`.
 */
export async function finishRemoval(
  ref: BackupRef & { storage?: FilesystemIdentity | undefined },
  engines: EngineFor = engineFor,
): Promise<'removed' | 'absent'> {
  if (!(await exists(removingDirectory(ref)))) {
    // The catalogue of a repository is on this host's own disk.
    const { repository } = await targetAt(ref.target);
    if (repository === undefined) await requireBackupStorage('the half-removed backup', ref, ref.storage);
    return 'absent';
  }
  await requireTrustedJob(ref);
  const { directory, engine } = await provenDirectory(ref);
  if (engine !== undefined) await removeStored(ref, { directory, engine, engines, storage: ref.storage });
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(path.join(directory, entry.name));
  }
  await removeTree(directory);
  return 'removed';
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** An immutable directory says EPERM to root too: somebody set `chattr +i` to keep it. */
async function setAside(ref: BackupRef): Promise<void> {
  const directory = backupDirectory(ref);
  try {
    await rename(directory, removingDirectory(ref));
    await syncDirectory(jobDirectory(ref));
  } catch (error) {
    const isHeld = errnoOf(error) === 'EPERM';
    throw stillThere(
      directory,
      isHeld ? 'it is immutable, or may not be renamed' : messageOf(error),
      isHeld
        ? `Clear the attribute if it is to go (lsattr -d ${directory}; chattr -R -i ${directory}); the backup is whole.`
        : 'Mend what it names; the backup is whole.',
      error,
    );
  }
}

/** Rejects when something is mounted in a directory, or shows it or something in it elsewhere. */
async function refuseMounted(directory: string): Promise<void> {
  const mounts = await readMounts();
  const within = mounts.find(({ mountpoint }) => isWithin(mountpoint, directory));
  const [shown = within] = mountsShowing(mounts, directory);
  if (shown === undefined) return;
  throw stillThere(
    directory,
    `${shown.mountpoint} is mounted ${shown === within ? 'in' : 'from'} it`,
    `Unmount it (umount ${shellWord(shown.mountpoint)}); the backup is whole.`,
  );
}

/**
 * Removes a complete backup of which nothing else needs anything. Whoever calls it holds the locks of job and target.
 * Killed at any moment, it leaves a backup that is listed and whole, or one that no listing knows and that `recover`
 * and the next removal end. Rejects with `cleanupIncomplete`; with `failed` for one that is not complete,
 * with `usage` where somebody else could make root remove something elsewhere.
 */
export async function removeBackup(ref: BackupRef, journal: Journal, engines?: EngineFor): Promise<void> {
  const directory = backupDirectory(ref);
  await requireTrustedJob(ref);
  const { state } = await readManifest(ref);
  if (state !== 'complete' || !(await lstat(directory)).isDirectory()) {
    throw new FsbackupError('failed', `${directory} is not removed: it is not a complete backup any more`, {
      hint: `See \`${suggested('backups list')}\`.`,
    });
  }
  await refuseMounted(await realpath(directory));
  const target = await targetAt(ref.target);
  const lies = target.repository === undefined ? ref.target : repositoryHere(target);
  const storage = lies === undefined ? undefined : await storageAt(lies);
  const entry = await journal.record('removal', {
    target: ref.target,
    job: ref.job,
    backupId: ref.backupId,
    ...(target.repository === undefined ? {} : { repository: targetName(target) }),
    ...(storage === undefined ? {} : { storage }),
  });
  try {
    await setAside(ref);
  } catch (error) {
    // Nothing of it is gone: there is nothing to recover.
    if (!(await exists(removingDirectory(ref)))) await entry.remove();
    throw error;
  }
  try {
    // Again: who mounts it looks afterwards whether it is still there, so one of the two sees the other.
    await refuseMounted(path.join(await realpath(jobDirectory(ref)), path.basename(removingDirectory(ref))));
  } catch (error) {
    await rename(removingDirectory(ref), directory);
    await entry.remove();
    throw error;
  }
  await finishRemoval({ ...ref, storage }, engines);
  await entry.remove();
}

/** The removals in a job's directory that nobody ended. */
export async function listUnfinishedRemovals(target: string, job: string): Promise<BackupRef[]> {
  try {
    return (await readdir(jobDirectory({ target, job })))
      .filter((name) => name.startsWith(PREFIX) && isBackupId(name.slice(PREFIX.length)))
      .map((name) => ({ target, job, backupId: name.slice(PREFIX.length) }));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
