import { readdirSync, readFileSync } from 'node:fs';

function isWaiting(thread: string): boolean {
  try {
    return /^State:\s*D/m.test(readFileSync(`/proc/self/task/${thread}/status`, 'utf8'));
  } catch {
    // It has ended.
    return false;
  }
}

/** A thread of this process that waits in the kernel, where no signal reaches it; undefined: there is none. */
export function waitingThread(): number | undefined {
  const found = readdirSync('/proc/self/task').find(isWaiting);
  return found === undefined ? undefined : Number(found);
}
