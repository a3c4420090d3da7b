import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Name and state of a process (proc_pid_stat(5)); undefined: there is none. */
function look(pid: number): { name: string; state: string } | undefined {
  try {
    const [, name = '', state = ''] =
      /^\d+ \((.*)\) (.)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return { name, state };
  } catch {
    return undefined;
  }
}

/** A pid may be another's by now: ours is the one that still carries a guard's name. One that nobody has reaped is dead. */
export function isGuard(pid: number): boolean {
  const found = look(pid);
  return found !== undefined && ['qsentry', 'vigil'].includes(found.name) && !/[ZXx]/.test(found.state);
}

/** Whether a process is stopped, by a signal or a debugger: it answers nobody until it is let on. */
export function isStopped(pid: number): boolean {
  return /[Tt]/.test(look(pid)?.state ?? '');
}

/** Ends guards that no longer answer. Only after a thaw: nothing that they guard is frozen any more. */
export function killGuards(pids: readonly number[]): void {
  for (const pid of pids.filter(isGuard)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ESRCH: it ended by itself.
    }
  }
}

const END_TIMEOUT_MS = 2000;
const END_LOOK_MS = 10;

/** Waits until a second has ended, which it does soon after its watchdog. One that is stopped is killed: false. */
export async function endSecond(pid: number): Promise<boolean> {
  for (const giveUpAt = performance.now() + END_TIMEOUT_MS; isGuard(pid); await sleep(END_LOOK_MS)) {
    if (performance.now() < giveUpAt) continue;
    killGuards([pid]);
    return false;
  }
  return true;
}
