import { mkdtemp, realpath, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { ensurePrivateDirectory, runDirectory } from './directories.js';
import { bindReadOnly, unmount } from './mount.js';

/**
 * Shows the directory `source` at `directory`, read-only, with nosuid, nodev and noexec, from the first moment on: a bind
 * mount is as writable as its original until it is remounted, so that is done where root alone can go, and a bind mount
 * of that one has its options. Rejects with `snapshotFailed`.
 */
export async function showReadOnly(source: string, directory: string): Promise<void> {
  await ensurePrivateDirectory(runDirectory());
  const stage = await mkdtemp(path.join(await realpath(runDirectory()), 'stage-'));
  try {
    await bindReadOnly(source, stage);
    await bindReadOnly(stage, directory);
  } finally {
    await unmount(stage);
    await rmdir(stage);
  }
}
