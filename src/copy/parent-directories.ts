import { chmod, chown, lstat, mkdir, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { isWithin } from '../system/mountinfo.js';
import type { CopySource } from './engine.js';
import { parentsOf, pathInBackup } from './source-layout.js';

/** Owner, mode and times of a directory. */
interface DirectoryAttributes {
  uid: number;
  gid: number;
  mode: number;
  mtime: Date;
}

async function attributesOf(directory: string): Promise<DirectoryAttributes | undefined> {
  try {
    // Not lstat: /home may be a symlink to the directory that people know as /home.
    const { uid, gid, mode, mtime } = await stat(directory);
    return { uid, gid, mode: mode & 0o7777, mtime };
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

async function exists(directory: string): Promise<boolean> {
  try {
    await lstat(directory);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Makes, below `root`, the directories above each source (themselves only, nothing in them), with the owner and mode
 * that they have on the live system, so that a source below a private directory stays private when restored; root's,
 * 0755, where the live system does not have them. Those that exist below `root` are left as they are.
 */
export async function makeParents(root: string, sources: readonly CopySource[]): Promise<void> {
  for (const parent of new Set(sources.flatMap((source) => parentsOf(source.path)))) {
    const directory = path.join(root, pathInBackup(parent));
    if (await exists(directory)) continue;
    const live = await attributesOf(parent);
    await mkdir(directory, { mode: 0o700 });
    await chown(directory, live?.uid ?? 0, live?.gid ?? 0);
    await chmod(directory, live?.mode ?? 0o755);
  }
}

/** Sets, once nothing is made in them any more, the times of those parents that lie in no source. */
export async function setParentTimes(root: string, sources: readonly CopySource[]): Promise<void> {
  for (const parent of new Set(sources.flatMap((source) => parentsOf(source.path)))) {
    if (sources.some((source) => isWithin(parent, source.path))) continue;
    const live = await attributesOf(parent);
    if (live !== undefined) await utimes(path.join(root, pathInBackup(parent)), live.mtime, live.mtime);
  }
}
