import { setTimeout as sleep } from 'node:timers/promises';
import { listPids, readProcessState, signalAll } from './process-table.js';

/** From SIGTERM to SIGKILL. */
export const KILL_AFTER_MS = 5000;
const FIRST_POLL_MS = 10;
const LAST_POLL_MS = 250;

interface Member {
  pid: number;
  group: number;
}

async function look(session: number): Promise<Member[]> {
  const members: Member[] = [];
  for (const pid of await listPids()) {
    const state = await readProcessState(pid);
    if (state?.session === session) members.push({ pid, group: state.group });
  }
  return members;
}

/** Twice before it says none: one that was started since the list of all was read is not in that, and its parent may be gone. */
async function membersOf(session: number): Promise<Member[]> {
  const members = await look(session);
  return members.length > 0 ? members : await look(session);
}

/**
 * Ends a program that leads a session, with all that is in it, whether or not the program itself is gone first: SIGTERM at
 * once, SIGKILL to what is left 5 s later. Resolves when nobody is in the session any more: while a process takes no
 * signal (state D) it does not. What has begun a session of its own (a daemon) is left alone.
 */
export async function endSession(leader: number): Promise<void> {
  const killAt = performance.now() + KILL_AFTER_MS;
  signalAll([-leader], 'SIGTERM');
  let members: Member[] = [{ pid: leader, group: leader }];
  const lookAgain = async (): Promise<void> => {
    // Where nobody can be looked for, those that were found last count as alive.
    members = await membersOf(leader).catch(() => members);
  };
  await lookAgain();
  // A shell with job control gives each of its jobs a group. Who came since may be cleaning up.
  signalAll(
    members.filter(({ group }) => group !== leader).map(({ pid }) => pid),
    'SIGTERM',
  );
  for (let pollMs = FIRST_POLL_MS; members.length > 0; pollMs = Math.min(2 * pollMs, LAST_POLL_MS)) {
    const leftMs = killAt - performance.now();
    if (leftMs <= 0) {
      signalAll(
        members.map(({ pid }) => pid),
        'SIGKILL',
      );
    }
    await sleep(leftMs > 0 ? Math.min(pollMs, leftMs) : pollMs);
    await lookAgain();
  }
}
