import { readdir } from 'node:fs/promises';
import { errnoOf, FsbackupError, messageOf } from '../../errors.js';
import { isBackupId, isJobName, jobDirectory, type BackupRef } from './backup-layout.js';
import type { EngineName } from '../engine.js';
import { targetAt } from '../repository/catalogue.js';
import { withoutFuture } from './future-backups.js';
import { preferOwn } from './host-backups.js';
import { readManifest, type Manifest, type ManifestState } from './manifest.js';
import { targetName, type RepositorySettings } from '../../backup-target.js';
import { thisHost } from '../../system/this-host.js';

/** Of a backup in a repository: how to reach that. */
interface InRepository {
  repository?: RepositorySettings;
}

/** A backup that can be restored from, and be a parent. */
export type CompleteBackup = BackupRef & InRepository & { state: 'complete'; manifest: Manifest };

/** A backup as a listing shows it. */
export type Backup = BackupRef & InRepository & ManifestState;

async function directoriesIn(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** By the second that the id tells, then by when they were completed: ids of one second are in no order. */
function compareAge(a: Backup, b: Backup): number {
  const second = ({ backupId }: Backup): string => backupId.slice(0, 16);
  const completed = (backup: Backup): string =>
    backup.state === 'complete' ? backup.manifest.completedAt : '';
  return (
    second(a).localeCompare(second(b)) ||
    completed(a).localeCompare(completed(b)) ||
    a.backupId.localeCompare(b.backupId)
  );
}

/** By job, the oldest first. */
export function inOrder(backups: readonly Backup[]): Backup[] {
  return backups.toSorted((a, b) => (a.job === b.job ? compareAge(a, b) : a.job < b.job ? -1 : 1));
}

/** The backups of one job, the oldest first. None where the job has no directory. */
export async function listJobBackups(target: string, job: string): Promise<Backup[]> {
  const { repository } = await targetAt(target);
  const backups: Backup[] = [];
  for (const name of await directoriesIn(jobDirectory({ target, job }))) {
    if (!isBackupId(name)) continue;
    const ref = { target, job, backupId: name };
    backups.push({
      ...ref,
      ...(repository === undefined ? {} : { repository }),
      ...(await readManifest(ref)),
    });
  }
  return backups.toSorted(compareAge);
}

/** A directory of a target that has the name of a job and cannot be read: what is in it nobody can tell. */
export interface UnreadableJob {
  /** As people know it. */
  target: string;
  job: string;
  message: string;
}

/** Of somebody who may not look, and not of a disk. */
function isForbidden(error: unknown): boolean {
  return ['EACCES', 'EPERM'].includes(errnoOf(error) ?? '');
}

/**
 * All backups in a target, by job, the oldest first. What is no backup is passed over, and what cannot be read is told
 * `onUnreadable`. Rejects with `usage` when the target cannot be read, or nothing in it may be.
 */
export async function listBackups(
  target: string,
  onUnreadable: (job: UnreadableJob) => void = () => undefined,
): Promise<Backup[]> {
  let jobs: string[];
  try {
    jobs = (await readdir(target, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory() && isJobName(entry.name))
      .map((entry) => entry.name);
  } catch (error) {
    const known = await targetAt(target);
    // What was never written to has no catalogue.
    if (errnoOf(error) === 'ENOENT' && known.repository !== undefined) return [];
    const why = errnoOf(error) === 'ENOENT' ? 'there is no such directory' : messageOf(error);
    throw new FsbackupError('usage', `the backups in ${targetName(known)} cannot be listed: ${why}`, {
      hint: 'Name the directory that the backups were written to, and mount it if it is a disk of its own.',
      cause: error,
    });
  }
  const backups: Backup[] = [];
  let closed: unknown;
  for (const job of jobs.toSorted()) {
    try {
      backups.push(...(await listJobBackups(target, job)));
    } catch (error) {
      // Closed even to root, on NFS.
      if (job === 'lost+found') continue;
      if (isForbidden(error)) closed ??= error;
      onUnreadable({ target: targetName(await targetAt(target)), job, message: messageOf(error) });
    }
  }
  // Somebody who may not look into any of them must not be told that there are none.
  if (backups.length === 0 && closed !== undefined) {
    throw new FsbackupError('usage', `the backups in ${target} cannot be listed: ${messageOf(closed)}`, {
      hint: 'Run fsbackup as root: backups are private.',
      cause: closed,
    });
  }
  return backups;
}

export function isComplete(backup: Backup): backup is CompleteBackup {
  return backup.state === 'complete';
}

/**
 * The last complete backup of a job by one engine that is not dated in the future, of another host only where there is none
 * of this one: the next one's parent.
 */
export async function latestComplete(
  target: string,
  job: string,
  engine: EngineName,
): Promise<CompleteBackup | undefined> {
  return (await findParent(target, job, engine)).parent;
}

/** As `latestComplete`, and those that are dated in the future. */
export async function findParent(
  target: string,
  job: string,
  engine: EngineName,
): Promise<{ parent: CompleteBackup | undefined; future: CompleteBackup[] }> {
  const backups = (await listJobBackups(target, job)).filter(isComplete);
  const ofEngine = backups.filter((backup) => backup.manifest.engine === engine);
  const { usable, future } = withoutFuture(preferOwn(ofEngine, thisHost()), new Date());
  return { parent: usable.at(-1), future };
}
