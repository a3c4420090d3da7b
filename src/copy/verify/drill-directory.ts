import { lstat, mkdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { formatBytes } from '../../report/format.js';
import type { FilesystemIdentity } from '../../system/filesystem-identity.js';
import { readSpace } from '../../system/filesystem-space.js';
import { requireWritable } from '../../system/probe-writable.js';
import { requireTrustedPath } from '../../system/trusted-path.js';
import { dataDirectory } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { CopyEngine } from '../engine.js';
import { requireStorage } from '../target/target-storage.js';
import { removeTree } from '../remove-tree.js';

/** Begins the name of what a drill makes. No listing of a target knows it. */
const PREFIX = '.fsbackup-drill-';
/** Where there is no room beside the backups, or nothing may be written. */
const FALLBACK = '/var/tmp';
/** What a file takes beyond its size, at most: the rest of its last block, and an inode. */
const PER_FILE_BYTES = 4096;

/** What a restore of all of it takes, holes counted as data: too much rather than too little. */
export async function roomForDrill(
  backup: CompleteBackup,
  engine: Pick<CopyEngine, 'roomToRestore'>,
  signal: AbortSignal,
): Promise<number> {
  const { bytes, files } = backup.manifest;
  if (engine.roomToRestore === undefined) return bytes + files * PER_FILE_BYTES;
  return await engine.roomToRestore({ dataDirectory: dataDirectory(backup), signal });
}

async function freeIn(directory: string): Promise<number> {
  return (await readSpace(directory))?.freeBytes ?? 0;
}

/** Why a drill cannot be there, a clause; undefined: it can. */
async function whyNot(directory: string, needed: number): Promise<string | undefined> {
  const bytes = await freeIn(directory);
  if (bytes < needed) return `${formatBytes(bytes)} are free in ${directory}`;
  try {
    await requireWritable(directory);
    return undefined;
  } catch (error) {
    if (error instanceof FsbackupError) return error.message;
    throw error;
  }
}

/**
 * Chooses where a drill that needs so many bytes restores to: below `wanted`, or else in the target when there is room and it can be written to, or else in /var/tmp. The
 * directory is not made yet. Rejects with `usage` for want of room, or of the directory.
 */
export async function chooseDrillDirectory(
  backup: CompleteBackup,
  wanted: string | undefined,
  { runId, needed }: { runId: string; needed: number },
): Promise<string> {
  const candidates = wanted === undefined ? [backup.target, FALLBACK] : [wanted];
  const reasons: string[] = [];
  for (const candidate of candidates) {
    const reason = await whyNot(candidate, needed);
    if (reason === undefined) return path.join(await realpath(candidate), `${PREFIX}${runId}`);
    reasons.push(reason);
  }
  throw new FsbackupError(
    'usage',
    `there is no room to restore ${backup.job}@${backup.backupId}: it takes ${formatBytes(needed)}, and ${reasons.join(', ')}`,
    {
      hint: 'Name a directory with room: --drill-directory, or `directory` of `drill` in the configuration.',
    },
  );
}

/** Makes it (0700). It must not be there. Rejects with `usage` when somebody else could change where it is. */
export async function makeDrillDirectory(directory: string): Promise<void> {
  await requireTrustedPath(directory, {
    what: 'the directory for the drill',
    why: 'Whoever may change it while root restores to it can have root write elsewhere.',
    otherwise: 'or name another (--drill-directory)',
  });
  await mkdir(directory, { mode: 0o700 });
}

/**
 * Removes what a drill made. Idempotent. Rejects with `cleanupIncomplete`, also for what is no drill's, and with
 * `AbsentStorageError` where it is not to be seen, since the filesystem `storage` that it was made on is not.
 */
export async function removeDrill(directory: string, storage?: FilesystemIdentity): Promise<void> {
  try {
    const isOurs = path.basename(directory).startsWith(PREFIX) && (await lstat(directory)).isDirectory();
    if (!isOurs || (await realpath(directory)) !== directory) {
      throw new FsbackupError('cleanupIncomplete', `${directory} is not removed: no drill made it`, {
        hint: 'See what it is, and remove it by hand.',
      });
    }
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    const [above, name] = [path.dirname(directory), path.basename(directory)];
    await requireStorage({ what: `the drill ${name}`, directory: above, name }, storage);
    return;
  }
  await removeTree(directory);
}
