import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What `answer` resolves to if it does so within `ms`, else false. Leaves no timer behind: one would keep the process
 * alive long after its work is done.
 */
export async function within(ms: number, answer: Promise<boolean>): Promise<boolean> {
  const done = new AbortController();
  try {
    return await Promise.race([answer, sleep(ms, false, { signal: done.signal })]);
  } finally {
    done.abort();
  }
}
