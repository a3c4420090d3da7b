import { mkdir } from 'node:fs/promises';
import { errnoOf } from '../errors.js';

/**
 * Makes a directory (0700) in one that is there, where it is not there yet. Never those above it: where the target's disk is gone they
 * would be made, and all be copied, on the filesystem that it was mounted on.
 */
export async function makeInside(directory: string): Promise<void> {
  await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
  });
}
