import { constants } from 'node:fs';
import { lstat, mkdtemp, open, readdir, rm, statfs, type FileHandle } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { tryLock } from './native.js';
import { requireTrustedPath } from './trusted-path.js';

/** As mkdtemp(3) ends a name. */
const NAME = /^fsbackup-(?:verify|restore)-\w{6}$/;
/** One so young may have been made just now, and not be locked yet. */
const YOUNG_MS = 60_000;

async function openDirectory(directory: string): Promise<FileHandle> {
  return await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

async function requireTrusted(directory: string): Promise<void> {
  await requireTrustedPath(directory, {
    what: 'the temporary directory',
    why: 'Whoever may change it decides what root reads from it. Let TMPDIR name another.',
  });
}

/** What is left where the last write that fit was a page, a block or an inode ago. */
const FULL_BYTES = 64 * 1024;
const NO_ROOM = /\b(?:ENOSPC|EDQUOT)\b|No space left on device|Disk quota exceeded/;

/** Where an error is for want of room, and it is this directory that has none, that is said: else one looks at the backup. */
async function sayingWhere(parent: string, error: unknown): Promise<unknown> {
  if (!NO_ROOM.test(`${errnoOf(error) ?? ''} ${messageOf(error)}`)) return error;
  const { bavail, bsize, ffree, files } = await statfs(parent);
  if (bavail * bsize > FULL_BYTES && (files === 0 || ffree > 0)) return error;
  return new FsbackupError('failed', `the filesystem of the temporary directory ${parent} is full`, {
    hint: 'Make room in it, or let TMPDIR name another, then run it again.',
    cause: error,
  });
}

/**
 * Does `body` with a private directory for what a program is to read, in TMPDIR or else /tmp, which is removed afterwards. It is
 * locked by flock(2) meanwhile, so that `sweepScratch` of another process tells it from one that a killed process left.
 * Rejects with `usage` where TMPDIR is somebody else's, who could put another in its place, and with `failed` where it is full.
 */
export async function withScratch<T>(
  use: 'verify' | 'restore',
  body: (directory: string) => Promise<T>,
  parent = os.tmpdir(),
): Promise<T> {
  await sweepScratch(parent);
  let directory: string | undefined;
  let handle: FileHandle | undefined;
  try {
    directory = await mkdtemp(path.join(parent, `fsbackup-${use}-`));
    await requireTrusted(directory);
    handle = await openDirectory(directory);
    tryLock(handle.fd);
    return await body(directory);
  } catch (error) {
    throw await sayingWhere(parent, error);
  } finally {
    await handle?.close();
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  }
}

/** Whether it was removed. */
async function sweepOne(directory: string, youngMs: number): Promise<boolean> {
  const { uid, mtimeMs } = await lstat(directory);
  if (uid !== process.geteuid?.() || Date.now() - mtimeMs < youngMs) return false;
  await requireTrusted(directory);
  const handle = await openDirectory(directory);
  try {
    if (!tryLock(handle.fd)) return false;
    await rm(directory, { recursive: true, force: true });
    return true;
  } finally {
    await handle.close();
  }
}

/**
 * Removes the directories of `withScratch` whose process is gone: those of ours that nobody has locked, where only we decide
 * what their names lead to. Resolves to their paths. `youngMs` is the age below which one is left alone. Never rejects: what cannot
 * be removed is left, holds nothing but room, and is tried again the next time. Idempotent.
 */
export async function sweepScratch(parent = os.tmpdir(), youngMs = YOUNG_MS): Promise<string[]> {
  const swept: string[] = [];
  for (const name of await readdir(parent).catch(() => [])) {
    if (!NAME.test(name)) continue;
    const directory = path.join(parent, name);
    if (await sweepOne(directory, youngMs).catch(() => false)) swept.push(directory);
  }
  return swept;
}
