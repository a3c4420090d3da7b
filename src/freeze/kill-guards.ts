import { readFileSync } from 'node:fs';
import type { FreezeRecordBody } from './freeze-record.js';

/** A pid may be another's by now: ours is the one that still carries a guard's name. */
function isGuard(pid: number): boolean {
  try {
    return ['qsentry', 'vigil'].includes(readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
  } catch {
    return false;
  }
}

/** Ends guards that no longer answer. Only after a thaw: what they guard is not frozen any more. */
export async function killStoppedGuards(body: FreezeRecordBody): Promise<void> {
  for (const pid of body.watchdogPids.filter(isGuard)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ESRCH: it ended by itself.
    }
  }
}
