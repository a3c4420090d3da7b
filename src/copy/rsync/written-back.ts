import { constants } from 'node:fs';
import { lstat, open, type FileHandle } from 'node:fs/promises';
import { errnoOf } from '../../errors.js';
import { copyStopped } from '../copy-error.js';
import { unescapePath } from '../digests/digest-record.js';

/** Of what is no file any more nothing is gone on with. */
const ABSENT = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);

/** A device that is opened may do something. */
async function openFile(file: Buffer): Promise<FileHandle | undefined> {
  try {
    if (!(await lstat(file)).isFile()) return undefined;
    return await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (ABSENT.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

async function isWrittenBack(file: Buffer): Promise<boolean> {
  let handle: FileHandle | undefined;
  try {
    handle = await openFile(file);
    await handle?.sync();
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  } finally {
    await handle?.close();
  }
}

/**
 * Whether nothing was lost of files (`unescapePath`) of a tree that a process which is gone wrote. What could not be written back may be
 * shown from memory all the same, so reading does not tell; but for as long as it may, fsync(2) does, of the file alone, to the
 * first who asks, also to one who opens it only now. What memory has no more is read from the disk.
 */
export async function areWrittenBack(
  directory: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  const handle = await open(directory, 'r');
  try {
    for (const name of names) {
      if (signal.aborted) throw copyStopped();
      // From there: the whole path may be longer than one can be.
      const file = Buffer.from(`/proc/self/fd/${handle.fd}/${unescapePath(name)}`, 'latin1');
      if (!(await isWrittenBack(file))) return false;
    }
    return true;
  } finally {
    await handle.close();
  }
}
