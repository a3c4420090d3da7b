import { randomBytes } from 'node:crypto';
import { readdir, realpath, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError, messageOf } from '../../errors.js';
import type { Payload } from '../../journal/entry.js';
import { withPinnedDirectory, type PinnedDirectory } from '../../system/pinned-directory.js';
import type { RestoreRequest } from '../engine.js';
import { keepingTimes } from './restore-staging.js';
import { shellWord } from '../../system/command-line.js';

type RestoreLinks = Payload<'restore-links'>;

/** Nobody has such a name by chance: 64 bits of it are random. */
function prefixOf(token: string): string {
  return `.fsbackup-link-${token}-`;
}

/** A temporary name of the one that will be the nth. */
export function linkName(token: string, nth: number): string {
  return `${prefixOf(token)}${nth}`;
}

async function removeIn(directory: PinnedDirectory, token: string): Promise<void> {
  const names = (await readdir(directory.path)).filter((name) => name.startsWith(prefixOf(token)));
  if (names.length === 0) return;
  await keepingTimes(directory.path, async () => {
    for (const name of names) await unlink(path.join(directory.path, name));
  });
}

/**
 * Removes the temporary names that a restore made, their directories' times kept. Idempotent. Goes through no symlink, and
 * nowhere but below the destination. Rejects with `cleanupIncomplete` where a directory is not one any more.
 */
export async function removeRestoreLinks({ destination, token, directories }: RestoreLinks): Promise<void> {
  try {
    await withPinnedDirectory(destination, async (root) => {
      for (const directory of directories) {
        try {
          await withPinnedDirectory(directory, (pinned) => removeIn(pinned, token), root);
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT') throw error;
        }
      }
    });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    if (errnoOf(error) === undefined) throw error;
    throw new FsbackupError(
      'cleanupIncomplete',
      `the temporary names ${prefixOf(token)}* of a restore in ${destination} are not removed: ${messageOf(error)}`,
      {
        hint: `See what became of that directory, remove them by hand (find ${shellWord(destination)} -xdev -name '${prefixOf(token)}*'), then run fsbackup recover.`,
        cause: error,
      },
    );
  }
}

/** What temporary names are made under. */
export interface JournalledLinks {
  token: string;
  /** After they were removed. */
  removed(): Promise<void>;
}

/** Writes down, before they are made, in which directories of the destination temporary names will be. */
export async function journalLinks(
  request: RestoreRequest,
  directories: ReadonlySet<string>,
): Promise<JournalledLinks> {
  const token = randomBytes(8).toString('hex');
  if (directories.size === 0 || request.journal === undefined)
    return { token, removed: async () => undefined };
  const destination = request.liveDestination ?? (await realpath(request.destination));
  const entry = await request.journal.record('restore-links', {
    destination,
    token,
    directories: [...directories],
  });
  return { token, removed: () => entry.remove() };
}
