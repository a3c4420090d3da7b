import { lstat } from 'node:fs/promises';
import { errnoOf } from '../errors.js';

/** Whether there is anything of that name; a symlink counts, wherever it leads. */
export async function exists(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
