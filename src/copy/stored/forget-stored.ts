import { errnoOf } from '../../errors.js';
import { forgetCached } from '../../system/native.js';

/**
 * Has what is stored at or below `path` read from the disk by whoever reads it next: what was written a moment ago, and is still in
 * memory, would be compared with itself. What cannot be looked at is left to who reads it.
 */
export async function forgetStored(path: string): Promise<void> {
  try {
    await forgetCached(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}
