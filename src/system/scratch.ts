import { constants } from 'node:fs';
import { lstat, mkdtemp, open, readdir, rm, type FileHandle } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
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

/**
 * Does `body` with a private directory for what a program is to read, in TMPDIR or else /tmp, which is removed afterwards. It is
 * locked by flock(2) meanwhile, so that `sweepScratch` of another process tells it from one that a killed process left.
 * Rejects with `usage` where TMPDIR is somebody else's, who could put another in its place.
 */
export async function withScratch<T>(
  use: 'verify' | 'restore',
  body: (directory: string) => Promise<T>,
  parent = os.tmpdir(),
): Promise<T> {
  await sweepScratch(parent);
  const directory = await mkdtemp(path.join(parent, `fsbackup-${use}-`));
  let handle: FileHandle | undefined;
  try {
    await requireTrusted(directory);
    handle = await openDirectory(directory);
    tryLock(handle.fd);
    return await body(directory);
  } finally {
    await handle?.close();
    await rm(directory, { recursive: true, force: true });
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
