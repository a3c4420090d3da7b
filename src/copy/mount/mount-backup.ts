import { lstat, mkdir, readdir, realpath, rmdir } from 'node:fs/promises';
import { errnoOf, FsbackupError, messageOf } from '../../errors.js';
import { requireTrustedPath } from '../../system/trusted-path.js';
import { isMountedAt, unmount } from '../../system/mount.js';
import { isWithin, readMounts } from '../../system/mountinfo.js';
import { dataDirectory, jobDirectory } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { CopyEngine, Mounting } from '../engine.js';
import { releaseServed } from '../repository/fuse-mount.js';
import { readManifest } from '../backup/manifest.js';
import {
  isShown,
  readMountRecord,
  removeMountRecord,
  writeMountRecord,
  type MountRecord,
} from './mount-records.js';
import { lockServing } from './serving-lock.js';
import { shellWord, suggested } from '../../system/command-line.js';

function usage(message: string, hint: string, cause?: unknown): FsbackupError {
  return new FsbackupError('usage', message, { hint, cause });
}

async function requireMounting(backup: CompleteBackup, engine: CopyEngine): Promise<Mounting> {
  if (engine.mounting !== undefined) return engine.mounting;
  const { manifest, job, backupId } = backup;
  const restore = `Restore what you need of it: ${suggested('restore', [`${job}@${backupId}`])} --to DIR PATH…`;
  const look = await engine.howToLook?.(dataDirectory(backup));
  if (look !== undefined) {
    throw usage(
      `a backup by ${manifest.engine} is not mounted by fsbackup: it is a filesystem by itself`,
      `${look} ${restore}`,
    );
  }
  throw usage(
    `a backup by ${manifest.engine} cannot be mounted: it is packed, with no way to one file but through all before it`,
    restore,
  );
}

async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw usage(`${directory} cannot be made: ${messageOf(error)}`, 'Name another directory.', error);
  }
}

/** An empty directory, free of symlinks, that nothing is mounted at; made (0700) when it is not there. */
async function prepareDirectory(
  requested: string,
  backup: CompleteBackup,
): Promise<{ directory: string; madeDirectory: boolean }> {
  await requireTrustedPath(requested, {
    what: 'the directory',
    why: 'Whoever may change it can have root mount over something else.',
    otherwise: 'or name another',
  });
  const madeDirectory = await makeDirectory(requested);
  const directory = await realpath(requested);
  if (!(await lstat(directory)).isDirectory())
    throw usage(`${requested} is not a directory`, 'Name another one.');
  if (await isMountedAt(directory)) {
    throw usage(`${directory} is a mountpoint already`, 'Unmount it, or name another directory.');
  }
  if (isWithin(directory, await realpath(jobDirectory(backup)))) {
    throw usage(
      `${directory} is among the backups of ${backup.job}`,
      'Name a directory outside of the target.',
    );
  }
  if ((await readdir(directory)).length > 0) {
    throw usage(
      `${directory} is not empty, and a mount would hide what is in it`,
      'Name an empty directory.',
    );
  }
  return { directory, madeDirectory };
}

async function forget({ directory, madeDirectory }: MountRecord): Promise<void> {
  await removeMountRecord(directory);
  // Somebody may have put something into it, or removed it.
  if (madeDirectory) await rmdir(directory).catch(() => undefined);
}

/** Undoes a mount, the program that shows it included. Idempotent. Rejects with `cleanupIncomplete`. */
export async function undoMount(record: MountRecord): Promise<void> {
  try {
    await unmount(record.directory);
    if (record.kind === 'process') await releaseServed(record.directory);
  } catch (error) {
    throw new FsbackupError('cleanupIncomplete', messageOf(error), {
      hint: `See who uses it (fuser -vm ${shellWord(record.directory)}), end that, then: ${suggested('backups umount', [record.directory])}`,
      cause: error,
    });
  }
  await forget(record);
}

/** Prune looks for mounts after it has set a backup aside; so one of the two sees the other. */
async function requireStillThere(backup: CompleteBackup): Promise<void> {
  if ((await readManifest(backup)).state === 'complete') return;
  throw new FsbackupError('failed', `${backup.job}@${backup.backupId} was removed meanwhile`, {
    hint: `\`${suggested('backups list')}\` shows what there is.`,
  });
}

export interface MountOptions {
  backup: CompleteBackup;
  engine: CopyEngine;
  /** Absolute. */
  directory: string;
  signal: AbortSignal;
  /** The backup is shown. With the kind `process`, for as long as this process lives. */
  onMounted: (record: MountRecord) => void;
}

/**
 * Mounts a backup read-only. With the kind `kernel` it resolves when that is done, with `process` when it was unmounted
 * again, by whomever or by the signal. Rejects with `usage`, and leaves nothing behind.
 */
export async function mountBackup(options: MountOptions): Promise<void> {
  const { backup, engine, signal, onMounted } = options;
  const { target, job, backupId } = backup;
  const mounting = await requireMounting(backup, engine);
  await engine.preflight();
  const place = await prepareDirectory(options.directory, backup);
  const record: MountRecord = {
    version: 1,
    target,
    job,
    backupId,
    ...place,
    kind: mounting.kind,
    mountedAt: new Date().toISOString(),
  };
  const request = { dataDirectory: dataDirectory(backup), directory: place.directory, signal };
  const lock = mounting.kind === 'process' ? await lockServing(place.directory) : undefined;
  try {
    await writeMountRecord(record);
    if (mounting.kind === 'kernel') {
      await mounting.mount(request);
      await requireStillThere(backup);
      onMounted(record);
      return;
    }
    if (lock === undefined)
      throw usage(`another fsbackup mounts at ${place.directory}`, 'Name another directory.');
    await mounting.serve({ ...request, onMounted: () => onMounted(record) });
    await undoMount(record);
  } catch (error) {
    await undoMount(record);
    signal.throwIfAborted();
    throw error;
  } finally {
    await lock?.release();
  }
}

/** What an unmount found. */
export interface Unmounted {
  record: MountRecord;
  /** False when it was not mounted any more. */
  wasMounted: boolean;
}

/**
 * Unmounts what `mountBackup` mounted at a directory. Rejects with `usage` for anything else that is there, with
 * `cleanupIncomplete` when it is busy.
 */
export async function unmountBackup(requested: string): Promise<Unmounted> {
  const directory = await realpath(requested).catch(() => requested);
  const record = await readMountRecord(directory);
  if (record === undefined) {
    throw usage(
      `fsbackup has mounted no backup at ${requested}`,
      '`fsbackup status` shows what is mounted. Undo other mounts with umount.',
    );
  }
  if (await isShown(record, await readMounts())) {
    await undoMount(record);
    return { record, wasMounted: true };
  }
  if (await isMountedAt(directory)) {
    throw usage(
      `what is mounted at ${directory} is not ${record.job}@${record.backupId}`,
      'See what it is: findmnt.',
    );
  }
  await undoMount(record);
  return { record, wasMounted: false };
}
