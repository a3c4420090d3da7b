import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';

/*
 * Node's own `mkdir` with `recursive` goes on for ever, deaf to signals, where a directory is there and nothing can be made
 * in it with ENOENT: below /proc, for one.
 */

/** mkdir(2); false where there is a directory already. */
async function make(directory: string, mode: number): Promise<boolean> {
  try {
    await mkdir(directory, { mode });
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST' || !(await stat(directory)).isDirectory()) throw error;
    return false;
  }
}

/**
 * Makes a directory, with those above it that are missing, all with `mode`. Idempotent. Resolves to the first that was made;
 * undefined: all were there. Rejects with the system's error.
 */
export async function makeDirectories(directory: string, mode: number): Promise<string | undefined> {
  try {
    return (await make(directory, mode)) ? directory : undefined;
  } catch (error) {
    const parent = path.dirname(directory);
    if (errnoOf(error) !== 'ENOENT' || parent === directory) throw error;
    const first = await makeDirectories(parent, mode);
    // Once more: where all above is there, that was not the reason.
    return (await make(directory, mode)) ? (first ?? directory) : first;
  }
}
