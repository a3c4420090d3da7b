import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { IS_IN_GUEST } from '../../support/in-guest.js';
import { readProcess } from '../processes.js';
import type { Attack } from './fault.js';

/** The children of a process that its main thread started, which all of Node's are. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

function named(pids: readonly number[], names: readonly string[]): number[] {
  return pids.filter((pid) => names.includes(readProcess(pid)?.comm ?? ''));
}

const LOOK_MS = IS_IN_GUEST ? 20 : 3;

/** Waits until a child of the command line has one of these names; undefined when it ends before. */
async function child({ run }: Attack, names: readonly string[]): Promise<number | undefined> {
  while (!run.hasEnded) {
    const [found] = named(childrenOf(run.pid), names);
    if (found !== undefined) return found;
    await sleep(LOOK_MS);
  }
  return undefined;
}

/** Processes of a run that a signal can be sent to. */
export const VICTIMS = {
  cli: async ({ run }: Attack) => (run.hasEnded ? undefined : run.pid),
  watchdog: async (attack: Attack) => await child(attack, ['qsentry']),
  second: async (attack: Attack) => {
    const watchdog = await child(attack, ['qsentry']);
    if (watchdog === undefined) return undefined;
    for (let look = 0; look < 50; look += 1) {
      const [second] = named(childrenOf(watchdog), ['vigil']);
      if (second !== undefined) return second;
      await sleep(LOOK_MS);
    }
    return undefined;
  },
  snapshotCommand: async (attack: Attack) =>
    await child(attack, [attack.world.snapshotProgram ?? '', 'mkdir'].filter(Boolean)),
  copyTool: async (attack: Attack) => await child(attack, ['rsync', 'tar', 'zstd']),
} as const;

export type Victim = keyof typeof VICTIMS;

/** Sends a signal to all of them at once; whether there was anyone to get it. */
export async function signal(
  attack: Attack,
  victims: readonly Victim[],
  what: 'SIGKILL' | 'SIGSTOP',
): Promise<number[]> {
  // Those that are waited for first: who waits for the guards of a dead command line waits in vain.
  const pids: number[] = [];
  for (const victim of victims.toReversed()) {
    const pid = await VICTIMS[victim](attack);
    if (pid === undefined) return [];
    pids.push(pid);
  }
  return pids.filter((pid) => {
    try {
      process.kill(pid, what);
      return true;
    } catch {
      return false;
    }
  });
}
