import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf, messageOf } from '../errors.js';
import { exists } from '../system/exists.js';
import { probeFrozen, thawInBackground } from '../system/native.js';
import { thawFailed } from './freeze-errors.js';
import { isOfAnotherDisk, type FreezeRecordBody } from './freeze-record.js';
import { openFilesystem } from './mountpoint.js';
import { within } from './within.js';

/** `gone`: neither mounted nor held by anything, so no superblock of it is left. */
export type DeadFreezeOutcome = 'thawed' | 'was not frozen' | 'gone';

/** What waits for longer waits for something below that is frozen, or for a disk that does not answer. */
const LIMIT_MS = 10_000;

/**
 * Whether a filesystem that is not mounted here may still be there: a frozen one outlives its last mount, and shows itself
 * frozen when it is mounted again; it may also be mounted in another namespace. What claims a device keeps others from an
 * exclusive open(2) of it.
 */
async function mayBeLeft(body: FreezeRecordBody): Promise<boolean> {
  const isAnonymous = body.majorMinor.startsWith('0:');
  if (!isAnonymous && !(await exists(`/sys/dev/block/${body.majorMinor}`))) return false;
  if (isOfAnotherDisk(body)) return false;
  try {
    closeSync(openSync(body.device, constants.O_RDONLY | constants.O_EXCL));
    return false;
  } catch (error) {
    return !['ENOENT', 'ENXIO', 'ENODEV', 'ENOMEDIUM'].includes(errnoOf(error) ?? '');
  }
}

/**
 * Thaws what nobody guards any more; the caller holds its record's lock. Waits in a thread of the pool, and no longer than ten
 * seconds. Rejects with `thawFailed` where it may still be frozen.
 */
export async function endDeadFreeze(body: FreezeRecordBody): Promise<DeadFreezeOutcome> {
  const fd = await openFilesystem(body);
  if (fd === undefined) {
    if (!(await mayBeLeft(body))) return 'gone';
    throw thawFailed(
      body,
      `it is not mounted here, and ${body.device} is in use: mount it again, which shows it as it was`,
    );
  }
  let wasFrozen = false;
  const work = (async () => {
    wasFrozen = await probeFrozen(fd);
    if (wasFrozen) await thawInBackground(fd);
    return true;
  })();
  void work.catch(() => undefined).finally(() => closeSync(fd));
  let hasEnded: boolean;
  try {
    hasEnded = await within(LIMIT_MS, work);
  } catch (error) {
    throw thawFailed(body, messageOf(error));
  }
  if (!hasEnded)
    throw thawFailed(body, 'FITHAW waits for what it lies on, which is frozen, or does not answer');
  return wasFrozen ? 'thawed' : 'was not frozen';
}
