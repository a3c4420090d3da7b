import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../../src/system/run-command.js';
import { environmentOf } from '../worlds/world.js';
import type { Attack, Fault } from './fault.js';

/** Writes until there is no room. */
function fill(file: string): void {
  const fd = openSync(file, 'w');
  const block = Buffer.alloc(64 * 1024, 1);
  try {
    for (let bytes = block.length; bytes >= 512;) {
      try {
        writeSync(fd, block, 0, bytes);
      } catch {
        bytes /= 2;
      }
    }
  } finally {
    closeSync(fd);
  }
}

function full(name: string, directoryOf: (attack: Attack) => string, outcomes: Fault['outcomes']): Fault {
  return {
    name,
    strike: async (attack) => {
      const { run, later } = attack;
      if (run.hasEnded) return false;
      const file = path.join(directoryOf(attack), 'somebody-elses');
      later(() => rmSync(file, { force: true }));
      fill(file);
      return true;
    },
    outcomes,
  };
}

async function fsfreeze(how: '--freeze' | '--unfreeze', mountpoint: string): Promise<boolean> {
  return (await runCommand(['fsfreeze', how, mountpoint], { timeoutMs: 20_000 })).exitCode === 0;
}

const FOREIGN_MS = 600;

/** Full filesystems, and others who freeze and thaw. */
export const STORAGE_FAULTS: readonly Fault[] = [
  full(
    'run directory full',
    ({ world }) => environmentOf(world)['FSBACKUP_RUN_DIR'] ?? '',
    [0, 1, 3, 20, 21, 40, 60],
  ),
  full('target full', ({ world }) => world.target.mountpoint, [0, 1, 2, 3, 40]),
  {
    name: 'foreign freeze',
    suits: ({ freezes }) => freezes,
    ownStallMs: FOREIGN_MS + 1000,
    strike: async ({ world, run, later, report }) => {
      if (run.hasEnded) return false;
      // Refused where ours is held just then: no freeze of theirs.
      if (!(await fsfreeze('--freeze', world.mountpoint))) return false;
      let isTheirs = true;
      const thaw = async (): Promise<void> => {
        if (!isTheirs) return;
        isTheirs = false;
        if (!(await fsfreeze('--unfreeze', world.mountpoint)))
          report('the freeze of a third party did not hold until that thawed');
      };
      later(thaw);
      await sleep(FOREIGN_MS);
      await thaw();
      return true;
    },
    outcomes: [0, 1, 3, 20, 21, 30, 60],
  },
  {
    name: 'foreign thaw',
    suits: ({ freezes }) => freezes,
    strike: async ({ world, run }) => !run.hasEnded && (await fsfreeze('--unfreeze', world.mountpoint)),
    outcomes: [0, 21],
  },
  { name: 'nothing', outcomes: [0] },
];
