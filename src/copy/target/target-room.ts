import { stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { dataDirectory } from '../backup/backup-layout.js';
import { latestComplete } from '../backup/backup-list.js';
import type { EngineName } from '../engine.js';
import { ARCHIVE } from '../tar/tar-archive.js';

/** What the decision is made from. */
export interface RoomFacts {
  target: string;
  engine: EngineName;
  freeBytes: number;
  totalBytes: number;
  /** Size of the job's last tar archive; undefined where there is none, or for rsync. */
  lastArchiveBytes: number | undefined;
}

function human(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)} MiB`;
}

function noRoom(target: string, why: string): FsbackupError {
  return new FsbackupError('usage', `${target} has no room for a backup: ${why}`, {
    hint: 'Free room there (old backups, other files), or choose another target.',
  });
}

/**
 * Throws `usage` when a backup surely does not fit. What a backup needs is not known before it is made (what changed,
 * how it compresses, what the patterns leave out), and a backup that is refused for a guess is none; so only
 * - with less than 1 % of the filesystem free, or
 * - for tar, which shares nothing with the backup before, with less room than half of the last archive.
 *
 * A target that fills up all the same ends the copy with `copyFailed`, and the incomplete backup is removed.
 */
export function requireRoom({ target, engine, freeBytes, totalBytes, lastArchiveBytes }: RoomFacts): void {
  if (freeBytes * 100 < totalBytes) {
    throw noRoom(target, `less than 1 % of its filesystem is free (${human(freeBytes)})`);
  }
  if (engine === 'tar' && lastArchiveBytes !== undefined && freeBytes < lastArchiveBytes / 2) {
    throw noRoom(target, `${human(freeBytes)} are free, and the last archive has ${human(lastArchiveBytes)}`);
  }
}

/** The size of the last archive of a job, for `requireRoom`. */
export async function sizeOfLastArchive(target: string, job: string): Promise<number | undefined> {
  const last = await latestComplete(target, job, 'tar');
  if (last === undefined) return undefined;
  try {
    return (await stat(path.join(dataDirectory(last), ARCHIVE))).size;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
