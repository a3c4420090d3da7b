import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, type FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoOf, FsbackupError } from '../../errors.js';

/** No text that fsbackup writes beside a backup comes near it. */
const MAX_TEXT_BYTES = 16 * 1024 ** 2;

function refused(message: string): FsbackupError {
  return new FsbackupError('failed', message, {
    hint: 'No run wrote it: see what it is, and who had the disk. Another backup may be whole.',
  });
}

function notAFile(file: string): FsbackupError {
  return refused(`${file} is not a regular file`);
}

/**
 * Opens a file of a target to read it. Whoever had the disk in hand may have put anything in its place: a FIFO would be
 * waited for without end, a symlink leads out of the disk, to open a device may set that to work. Rejects with the system's
 * error, and with `failed` for what is no regular file.
 */
async function openStored(file: string): Promise<FileHandle> {
  if (!(await lstat(file)).isFile()) throw notAFile(file);
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if ((await handle.stat()).isFile()) return handle;
    throw notAFile(file);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Reads a text of a target. Rejects with the system's error, and with `failed` for what is no file or larger than any that is written. */
export async function readStored(file: string): Promise<string> {
  const handle = await openStored(file);
  try {
    if ((await handle.stat()).size > MAX_TEXT_BYTES) throw refused(`${file} is larger than 16 MiB`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** A stream of a file of a target, however large. Rejects as `readStored`, but for the size. */
export async function streamStored(file: string): Promise<Readable> {
  return (await openStored(file)).createReadStream();
}

/** SHA-256 of a file of a target. Rejects as `streamStored`. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(await streamStored(file), hash);
  return hash.digest('hex');
}

/** For what a program is to open: rejects with `failed` where it is there and no regular file. */
export async function requireStored(file: string): Promise<void> {
  const there = await lstat(file).catch((error: unknown) => {
    // The program says it better.
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  });
  if (there?.isFile() === false) throw notAFile(file);
}
