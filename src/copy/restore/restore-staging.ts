import { randomBytes } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { lstat, mkdir, realpath, rmdir, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import type { Payload } from '../../journal/entry.js';
import type { Journal } from '../../journal/journal.js';
import { unmount } from '../../system/mount.js';
import { removeTree } from '../remove-tree.js';

const PREFIX = '.fsbackup-restore-';
/** Nobody has such a name by chance: 64 bits of it are random. */
const NAME = /^\.fsbackup-restore-[0-9a-f]{16}$/;

type Staging = Payload<'staging'>;

function identityOf({ ino, birthtimeNs }: BigIntStats): NonNullable<Staging['identity']> {
  return { inode: String(ino), bornNs: String(birthtimeNs) };
}

function notOurs(directory: string): FsbackupError {
  return new FsbackupError('cleanupIncomplete', `${directory} is not removed: no restore made it`, {
    hint: 'See what it is, and move or remove it by hand; then run fsbackup recover.',
  });
}

/** In what a restore staged: where the backup itself is shown meanwhile, for comparison. */
export function shownIn(staging: string): string {
  return path.join(staging, 'backup');
}

/** What is made and removed in a directory would give it another time. */
export async function keepingTimes<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const { atimeMs, mtimeMs } = await stat(directory);
  try {
    return await work();
  } finally {
    await utimes(directory, atimeMs / 1000, mtimeMs / 1000);
  }
}

/**
 * Removes what a restore staged, its parent's times kept. Idempotent. Follows no symlink. Rejects with `cleanupIncomplete`
 * for what is not the directory that was made, and where something is mounted in it that no restore mounts. Before the entry has an identity
 * there is nothing in the directory yet, and what has something in it is somebody else's.
 */
export async function removeStaging({ directory, identity }: Staging): Promise<void> {
  let found: BigIntStats;
  let isDirect: boolean;
  try {
    found = await lstat(directory, { bigint: true });
    isDirect = (await realpath(path.dirname(directory))) === path.dirname(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return;
    throw error;
  }
  if (!NAME.test(path.basename(directory)) || !found.isDirectory() || !isDirect) throw notOurs(directory);
  await keepingTimes(path.dirname(directory), async () => {
    if (identity === undefined) {
      await rmdir(directory).catch((error: unknown) => {
        throw errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST' ? notOurs(directory) : error;
      });
      return;
    }
    const { inode, bornNs } = identityOf(found);
    if (inode !== identity.inode || bornNs !== identity.bornNs) throw notOurs(directory);
    // By a program that outlived a restore: it ends with its mount.
    await unmount(shownIn(directory));
    await removeTree(directory);
  });
}

/**
 * Runs `work` with an empty private directory in `parent`, which need not be free of symlinks and keeps its times. It is
 * removed afterwards, whatever came of it; with a journal also when that never came. Rejects as `work`, the journal and
 * `removeStaging` do.
 */
export async function withStaging<T>(
  parent: string,
  journal: Journal | undefined,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const within = await realpath(parent);
  const directory = path.join(within, `${PREFIX}${randomBytes(8).toString('hex')}`);
  const entry = await journal?.record('staging', { directory });
  try {
    await keepingTimes(within, () => mkdir(directory, { mode: 0o700 }));
  } catch (error) {
    await entry?.remove();
    throw error;
  }
  let staging: Staging = { directory };
  try {
    staging = { directory, identity: identityOf(await lstat(directory, { bigint: true })) };
    await entry?.amend(staging);
    return await work(directory);
  } finally {
    await removeStaging(staging);
    await entry?.remove();
  }
}
