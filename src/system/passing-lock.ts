import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../errors.js';
import { tryLock } from './native.js';

const POLL_MS = 20;

/** Whether `handle` is still what the name leads to: a file that was unlinked locks nobody out. */
export async function isCurrent(handle: FileHandle, file: string): Promise<boolean> {
  try {
    const [held, named] = await Promise.all([handle.stat(), stat(file)]);
    return held.ino === named.ino && held.dev === named.dev;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Does `work` under the flock(2) of a file that its last holder removes, as LVM does with its own: a lock that was waited
 * for may be that of a file which is no longer there, and locks nobody out. Undefined, and nothing done, when it stays
 * busy for `waitMs`. The file is made, and stays.
 */
export async function underPassingLock<T>(
  file: string,
  waitMs: number,
  work: () => Promise<T>,
  lock = tryLock,
): Promise<T | undefined> {
  for (const giveUpAt = performance.now() + waitMs; ; await sleep(POLL_MS)) {
    // Node opens with O_CLOEXEC: no child inherits the lock.
    const handle = await open(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      if (lock(handle.fd) && (await isCurrent(handle, file))) return await work();
    } finally {
      await handle.close();
    }
    if (performance.now() >= giveUpAt) return undefined;
  }
}
