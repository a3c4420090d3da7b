import { closeSync } from 'node:fs';
import { findRecord, lockRecord } from './freeze-record.js';
import type { FreezeTarget } from './freezer.js';

/** Rejects with `locked` when a living fsbackup holds that filesystem frozen, or is about to freeze it. */
export async function refuseHeld(target: FreezeTarget): Promise<void> {
  // Asked once more with patience: who only reads a record holds its lock for an instant.
  if (findRecord(target)?.guarded === true) closeSync(await lockRecord(target));
}
