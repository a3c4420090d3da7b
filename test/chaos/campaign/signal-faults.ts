import { setTimeout as sleep } from 'node:timers/promises';
import type { Attack, Fault, Outcomes } from './fault.js';
import { signal, type Victim } from './victims.js';

/** Longer than the deadline, by which every freeze must have ended. */
const THAWED_BY_MS = 90_000;

function kill(victims: readonly Victim[], outcomes: Outcomes, suits?: Fault['suits']): Fault {
  return {
    name: `kill ${victims.join(' and ')}`,
    ...(suits === undefined ? {} : { suits }),
    strike: async (attack) => (await signal(attack, victims, 'SIGKILL')).length > 0,
    outcomes,
  };
}

/** Goes on by itself once nothing of the filesystem is frozen any more, as after a suspend of the machine. */
async function continueLater({ world, later }: Attack, pids: readonly number[]): Promise<void> {
  later(() => {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It was killed, which is one way of dealing with it.
      }
    }
  });
  await world.load.writes(THAWED_BY_MS);
  await sleep(100);
}

function stop(victims: readonly Victim[], outcomes: Outcomes, suits?: Fault['suits']): Fault {
  return {
    name: `stop ${victims.join(' and ')}`,
    ...(suits === undefined ? {} : { suits }),
    strike: async (attack) => {
      const pids = await signal(attack, victims, 'SIGSTOP');
      await continueLater(attack, pids);
      // Guards are lived without; all else is waited for, outside of the window.
      if (victims.some((victim) => victim !== 'watchdog' && victim !== 'second'))
        for (const pid of pids) {
          try {
            process.kill(pid, 'SIGCONT');
          } catch {
            // Killed meanwhile.
          }
        }
      return pids.length > 0;
    },
    outcomes,
  };
}

function interrupt(name: 'SIGHUP' | 'SIGINT' | 'SIGTERM', exitCode: number): Fault {
  return {
    name,
    strike: async ({ run }) => !run.hasEnded && run.child.kill(name),
    // Before it listens, a signal ends it as it ends every program.
    outcomes: [0, exitCode, name],
  };
}

const freezes: Fault['suits'] = (world) => world.freezes;
const hasProgram: Fault['suits'] = (world) => world.hasSnapshotProgram;
const DEAD: Outcomes = [0, 'SIGKILL'];

/** Processes that die, and processes that stop. */
export const SIGNAL_FAULTS: readonly Fault[] = [
  kill(['cli'], DEAD),
  kill(['watchdog'], [0, 1, 21], freezes),
  kill(['second'], [0, 1, 21], freezes),
  kill(['watchdog', 'second'], [0, 1, 21], freezes),
  kill(['cli', 'watchdog'], DEAD, freezes),
  kill(['cli', 'second'], DEAD, freezes),
  // 60: the one that removes it.
  kill(['snapshotCommand'], [0, 21, 30, 60], hasProgram),
  // 1: in its preflight, where it is asked for its version.
  kill(['copyTool'], [0, 1, 40]),
  stop(['cli'], [0, 21]),
  stop(['watchdog'], [0, 1, 21], freezes),
  stop(['second'], [0, 1, 21], freezes),
  stop(['watchdog', 'second'], [0, 1, 21], freezes),
  stop(['cli', 'watchdog'], [0, 1, 21], freezes),
  stop(['cli', 'second'], [0, 1, 21], freezes),
  stop(['snapshotCommand'], [0, 21, 30], hasProgram),
  stop(['copyTool'], [0]),
  {
    name: 'kill cli, stop watchdog',
    suits: freezes,
    strike: async (attack) => {
      const stopped = await signal(attack, ['watchdog'], 'SIGSTOP');
      if (stopped.length === 0) return false;
      await signal(attack, ['cli'], 'SIGKILL');
      await continueLater(attack, stopped);
      return true;
    },
    outcomes: DEAD,
  },
  interrupt('SIGHUP', 129),
  interrupt('SIGINT', 130),
  interrupt('SIGTERM', 143),
];
