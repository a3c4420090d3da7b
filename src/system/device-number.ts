import { stat } from 'node:fs/promises';
import { errnoOf } from '../errors.js';

/** `major:minor` of the block device at `file`, symlinks followed; undefined when there is none. */
export async function deviceNumber(file: string): Promise<string | undefined> {
  try {
    const status = await stat(file);
    if (!status.isBlockDevice()) return undefined;
    // As glibc's gnu_dev_major and gnu_dev_minor; Linux has 12 bits of the one and 20 of the other.
    const major = (status.rdev >>> 8) & 0xfff;
    const minor = (status.rdev & 0xff) | ((status.rdev >>> 12) & 0xfff00);
    return `${major}:${minor}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
