import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { suggested } from '../../system/command-line.js';

/**
 * Names one backup, before it exists too. Plain JSON. It lies in `<target>/<job>/<backupId>`: `data`, what the engine
 * wrote, `digests.gz`, and `manifest.json`, written last.
 */
export interface BackupRef {
  /** Absolute path of the target directory: of a repository, its catalogue. */
  target: string;
  job: string;
  /** Sorts by time: `20261123T184500Z-1a2b3c`, UTC. */
  backupId: string;
}

const JOB = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const BACKUP_ID = /^\d{8}T\d{6}Z-[0-9a-f]{4,16}$/;

export function isJobName(name: string): boolean {
  return JOB.test(name);
}

export function isBackupId(name: string): boolean {
  return BACKUP_ID.test(name);
}

/** The time that an id tells: when its run was begun, to the second. Throws for what is no id. */
export function begunAt(backupId: string): Date {
  if (!isBackupId(backupId)) throw new Error(`${backupId} is not the id of a backup`);
  return new Date(backupId.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z.*$/, '$1-$2-$3T$4:$5:$6Z'));
}

/** Where the backups of a job are. Throws `usage` for a name that could lead elsewhere. */
export function jobDirectory({ target, job }: Pick<BackupRef, 'target' | 'job'>): string {
  if (!isJobName(job)) {
    throw new FsbackupError('usage', `"${job}" is not the name of a job`, {
      hint: `Name it with letters, digits, dots, dashes and underscores; \`${suggested('backups list')}\` shows those that there are.`,
    });
  }
  return path.join(target, job);
}

/** The directory of one backup. Throws `usage` for a name or id that could lead elsewhere. */
export function backupDirectory(ref: BackupRef): string {
  if (!isBackupId(ref.backupId)) {
    throw new FsbackupError('usage', `"${ref.backupId}" is not the id of a backup`, {
      hint: `An id is like 20261123T184500Z-1a2b3c; \`${suggested('backups list')}\` shows those that there are.`,
    });
  }
  return path.join(jobDirectory(ref), ref.backupId);
}

/** What the engine wrote, or writes. */
export function dataDirectory(ref: BackupRef): string {
  return path.join(backupDirectory(ref), 'data');
}

/** As `digestFile`, of a backup whose directory has another name than its own. */
export function digestFileIn(directory: string): string {
  return path.join(directory, 'digests.gz');
}

/** The list of the digests of what is in it. Old backups have none. */
export function digestFile(ref: BackupRef): string {
  return digestFileIn(backupDirectory(ref));
}
