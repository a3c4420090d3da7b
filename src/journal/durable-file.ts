import { open, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, messageOf } from '../errors.js';

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What a temporary file of `writeDurably` is called: its name followed by this. */
export const TEMPORARY_SUFFIX = '.tmp';

/** What failed through a descriptor names no file: the same error, with it. */
function naming(file: string, error: unknown): unknown {
  const code = errnoOf(error);
  if (code === undefined || (error instanceof Error && 'path' in error)) return error;
  return Object.assign(new Error(`${messageOf(error)} '${file}'`, { cause: error }), { code, path: file });
}

/**
 * Writes a file so that after a crash at any moment it is there whole or not at all, and is there once this resolved:
 * a temporary file (0600), fsync, rename, fsync of the directory. Replaces what has the name. Rejects with the system's
 * error, which names the file, and leaves no temporary one.
 */
export async function writeDurably(file: string, text: string): Promise<void> {
  const temporary = `${file}${TEMPORARY_SUFFIX}`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw naming(file, error);
  }
  await syncDirectory(path.dirname(file));
}

/**
 * Adds whole lines to a file, made with mode 0600, and resolves when they are on stable storage. What a crash or a full
 * disk left of a line without its end stays a line of its own. Rejects with the system's error, which names the file.
 */
export async function appendDurably(file: string, lines: string): Promise<void> {
  const handle = await open(file, 'a+', 0o600);
  let isNew: boolean;
  try {
    const { size } = await handle.stat();
    isNew = size === 0;
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, Math.max(0, size - 1));
    await handle.appendFile(isNew || buffer.toString() === '\n' ? lines : `\n${lines}`);
    await handle.sync();
  } catch (error) {
    throw naming(file, error);
  } finally {
    await handle.close();
  }
  if (isNew) await syncDirectory(path.dirname(file));
}

/** Removes a file so that it stays removed after a crash. Idempotent. */
export async function removeDurably(file: string): Promise<void> {
  try {
    await unlink(file);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  await syncDirectory(path.dirname(file));
}
