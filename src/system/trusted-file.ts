import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { distrustOf, findDistrust, trustedUids, type Distrust } from './trusted-path.js';
import { shellWord } from './command-line.js';

const GROUP_OR_OTHERS = 0o077;
/** No configuration is larger; a file that is was not meant. */
const MAX_BYTES = 1024 * 1024;

function notReadable(file: string, error: unknown): FsbackupError {
  return new FsbackupError('usage', `${file} cannot be read: ${messageOf(error)}`, {
    hint: 'Make it readable for the user who runs fsbackup, usually root.',
    cause: error,
  });
}

/** Opens what is there, following symlinks; undefined when nothing is. Never blocks on a FIFO. */
async function openExisting(file: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(file, constants.O_RDONLY | constants.O_NONBLOCK | flags);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw notReadable(file, error);
  }
}

function refuse({ at, because, fix }: Distrust): never {
  throw new FsbackupError('usage', `${at} ${because}`, {
    hint: `What stands in it is run as root. Check it, then: ${fix}`,
  });
}

/**
 * Rejects unless what `handle` has open belongs to a trusted user and nobody else may write to it. On the open
 * handle, so that what was checked is what is used.
 */
async function checkTrust(handle: FileHandle, name: string, uids: readonly number[]): Promise<void> {
  const distrust = distrustOf(await handle.stat(), name, uids);
  if (distrust !== undefined) refuse(distrust);
}

/** The same of every directory and symlink that leads to it: whoever may rename one decides what is read next time. */
async function checkWay(file: string, uids: readonly number[]): Promise<void> {
  const distrust = await findDistrust(file, uids);
  if (distrust !== undefined) refuse(distrust);
}

async function checkDirectory(directory: string, uids: readonly number[]): Promise<boolean> {
  const handle = await openExisting(directory, constants.O_DIRECTORY);
  if (handle === undefined) return false;
  try {
    await checkTrust(handle, directory, uids);
    await checkWay(directory, uids);
    return true;
  } finally {
    await handle.close();
  }
}

/**
 * Reads a text file that only root (or the user who runs this) can have written or put there: itself, and every directory
 * and symlink on the way to it. With `isPrivate`, nobody else may read it either.
 * Undefined when there is no such file; rejects with
 * `usage` when it cannot be trusted or read.
 */
export async function readTrustedFile(
  file: string,
  uids: readonly number[] = trustedUids(),
  options: { isPrivate?: boolean } = {},
): Promise<string | undefined> {
  const handle = await openExisting(file, 0);
  if (handle === undefined) return undefined;
  try {
    await checkTrust(handle, file, uids);
    await checkWay(file, uids);
    const stat = await handle.stat();
    if (!stat.isFile() || stat.size > MAX_BYTES) {
      throw new FsbackupError('usage', `${file} is not a text file of at most 1 MiB`, {
        hint: 'Name a configuration file.',
      });
    }
    if (options.isPrivate === true && (stat.mode & GROUP_OR_OTHERS) !== 0) {
      throw new FsbackupError('usage', `${file} may be read by its group or by others`, {
        hint: `A secret stands in it. Change the secret if somebody may have seen it, then: chmod 600 ${shellWord(file)}`,
      });
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * Names in a directory that only root (or the user who runs this) can have written or put there, sorted. Empty when there is no
 * such directory; rejects with `usage` when it cannot be trusted or read.
 */
export async function listTrustedDirectory(
  directory: string,
  uids: readonly number[] = trustedUids(),
): Promise<string[]> {
  if (!(await checkDirectory(directory, uids))) return [];
  try {
    return (await readdir(directory)).toSorted();
  } catch (error) {
    throw notReadable(directory, error);
  }
}
