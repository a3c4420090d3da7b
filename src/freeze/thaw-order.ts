import type { FreezeRecordBody } from './freeze-record.js';

type Begun = Pick<FreezeRecordBody, 'since' | 'sinceMs' | 'slot'>;

/**
 * A filesystem is frozen before those that it lies on, and its FITHAW waits for theirs: what was frozen last is to be
 * thawed first. For sort. By the clock that nobody sets back; records of versions that did not note it have the other alone.
 */
export function byThawOrder(a: Begun, b: Begun): number {
  const later =
    a.sinceMs === undefined || b.sinceMs === undefined
      ? Date.parse(b.since) - Date.parse(a.since)
      : b.sinceMs - a.sinceMs;
  return later || b.slot - a.slot;
}
