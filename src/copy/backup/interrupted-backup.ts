import { lstat, readdir, realpath, rename } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, FsbackupError } from '../../errors.js';
import { exists } from '../../system/exists.js';
import { hostLabel } from '../../system/host-label.js';
import { backupDirectory, digestFileIn, isJobName, jobDirectory, type BackupRef } from './backup-layout.js';
import { readResumeNote, writeResumeNote, type ResumeNote } from '../rsync/resume-note.js';
import type { OnDisk } from '../on-disk.js';
import { isRealDirectory } from '../stored/real-directory.js';
import { removeTree } from '../remove-tree.js';
import { requireTrustedJob } from '../target/trusted-target.js';

/** Whoever waits for a broken-off run to end, a shutdown say, does not wait longer for a sync. */
const SYNC_MS = 30_000;

const PREFIX = '.incomplete-';
/** Ends the name of one that is being removed: no run goes on from it. No host has such a name. */
export const REMOVING = '+removing';

/** A copy that was broken off, as it is kept for the next run of its job to go on from. */
export interface InterruptedBackup {
  target: string;
  job: string;
  /** That it was to get. */
  backupId: string;
  /** When its run began to copy: RFC 3339. */
  startedAt: string;
  directory: string;
  /** Whose next run goes on from it. */
  host: string;
  /** Whether what was copied lies in `directory`, or on another host. */
  place: ResumeNote['place'];
}

type Job = Pick<BackupRef, 'target' | 'job'>;

/** Where it is kept: one for each job, target and host. */
function keptDirectory(job: Job): string {
  return path.join(jobDirectory(job), `${PREFIX}${hostLabel()}`);
}

/** Free of symlinks below the target, which may be reached by one. */
async function resolved(directory: string): Promise<string> {
  return path.join(await realpath(path.dirname(directory)), path.basename(directory));
}

/** Whether all that was written is on disk now; not where that takes long. */
async function isSynced(held: OnDisk): Promise<boolean> {
  const synced = held.sync().then(
    () => true,
    () => false,
  );
  return await Promise.race([synced, sleep(SYNC_MS, false, { ref: false })]);
}

/**
 * Keeps what a dead or failed run copied for the next one of its job: under a name that is no backup's. Returns that;
 * undefined, and nothing done, where nothing can go on from it. `held`: its filesystem, by the process that wrote it, since
 * before it did: where that is told of no loss, it spares the next run from reading it. Not of what an earlier process
 * wrote, which the note still tells of where this one has not looked at that yet.
 */
export async function keepInterrupted(ref: BackupRef, held?: OnDisk): Promise<string | undefined> {
  const directory = await resolved(backupDirectory(ref));
  const digests = digestFileIn(directory);
  const note = await readResumeNote(digests);
  if (note === undefined) return undefined;
  const isOurs = note.place === 'here' && note.backupId === ref.backupId;
  if (isOurs && held !== undefined && (await isSynced(held)))
    await writeResumeNote(digests, { ...note, isSynced: true });
  const kept = await resolved(keptDirectory(ref));
  await removeTree(kept);
  await rename(directory, kept);
  return kept;
}

/**
 * Whether it is what a run leaves: directories, and files of its own. What is to be written to in it is opened by its name, and
 * whoever had the disk in hand could have made a symlink of that.
 */
async function isAsLeft(kept: string): Promise<boolean> {
  if ((await isRealDirectory(kept)) !== true) return false;
  for (const name of await readdir(kept)) {
    const entry = await lstat(path.join(kept, name));
    if (!entry.isDirectory() && !(entry.isFile() && entry.nlink === 1)) return false;
  }
  return true;
}

/**
 * Gives what was kept of a job to the backup that is being begun, if `canGoOn` and it is as a run leaves it, as its directory, and
 * true; removes it otherwise. Whoever calls it holds the locks of job and target: no run that lives has it.
 */
export async function adoptInterrupted(ref: BackupRef, canGoOn: boolean): Promise<boolean> {
  const kept = await resolved(keptDirectory(ref));
  if (!(await exists(kept))) return false;
  if (!canGoOn || !(await isAsLeft(kept)) || (await readResumeNote(digestFileIn(kept))) === undefined) {
    await removeTree(kept);
    return false;
  }
  await rename(kept, backupDirectory(ref));
  return true;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).toSorted();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}

/** What is kept in a target, by job; by other hosts too. What cannot be read is passed over. */
export async function listInterrupted(target: string): Promise<InterruptedBackup[]> {
  const found: InterruptedBackup[] = [];
  for (const job of (await namesIn(target)).filter(isJobName)) {
    for (const name of await namesIn(jobDirectory({ target, job }))) {
      if (!name.startsWith(PREFIX)) continue;
      const directory = path.join(jobDirectory({ target, job }), name);
      const note = await readResumeNote(digestFileIn(directory)).catch(() => undefined);
      if (note === undefined) continue;
      const { backupId, startedAt, place } = note;
      const host = name.slice(PREFIX.length).replace(REMOVING, '');
      found.push({ target, job, backupId, startedAt, directory, host, place });
    }
  }
  return found;
}

/**
 * Removes what is kept of a broken-off copy. Whoever calls it holds the locks of job and target. It gets another name
 * first: a run of another host either has it or does not. What tells of it goes last, so that one that was killed here is
 * listed, and removed, again. Idempotent. Rejects with `cleanupIncomplete`, and with `usage` where somebody else could make
 * root remove something elsewhere.
 */
export async function removeInterrupted({ target, job, directory }: InterruptedBackup): Promise<void> {
  await requireTrustedJob({ target, job });
  const kept = await resolved(directory);
  if (!(await exists(kept))) return;
  if (!(await lstat(kept)).isDirectory()) {
    throw new FsbackupError('cleanupIncomplete', `${kept} is not removed: it is not a directory`, {
      hint: 'See what it is, and remove it by hand.',
    });
  }
  const removing = kept.endsWith(REMOVING) ? kept : `${kept}${REMOVING}`;
  if (kept !== removing) {
    await removeTree(removing);
    await rename(kept, removing);
  }
  for (const entry of await readdir(removing, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(path.join(removing, entry.name));
  await removeTree(removing);
}
