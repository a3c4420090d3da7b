import { readFileSync } from 'node:fs';

/** A pid may be another's by now: ours is the one that still carries a guard's name. */
export function isGuard(pid: number): boolean {
  try {
    return ['qsentry', 'vigil'].includes(readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
  } catch {
    return false;
  }
}

/** Ends guards that no longer answer. Only after a thaw: what they guard is not frozen any more. */
export function killGuards(pids: readonly number[]): void {
  for (const pid of pids.filter(isGuard)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ESRCH: it ended by itself.
    }
  }
}
