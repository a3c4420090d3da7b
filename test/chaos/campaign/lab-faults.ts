import { rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../../src/system/run-command.js';
import { must } from '../../support/throwaway-filesystem.js';
import type { Fault } from './fault.js';
import { monotonicMs } from '../load/load.js';

async function setClock(epochMs: number): Promise<void> {
  await must('date', '--utc', '--set', `@${(epochMs / 1000).toFixed(3)}`);
}

/** Of a classic snapshot its exceptions' own device. */
async function hasSnapshot(): Promise<boolean> {
  const { stdout } = await runCommand(['dmsetup', 'ls'], { timeoutMs: 60_000 });
  return /^chaos--classic-fsbackup.*-cow\b/m.test(stdout);
}

const OVERWRITTEN_MIB = 48;

/** What needs a machine of its own. */
export const LAB_FAULTS: readonly Fault[] = [
  {
    name: 'clock jumps',
    strike: async ({ run, random, later }) => {
      if (run.hasEnded) return false;
      const [wallMs, atMs] = [Date.now(), monotonicMs()];
      later(() => setClock(wallMs + monotonicMs() - atMs));
      await setClock(wallMs + random.pick([-7200, -60, 60, 7200]) * 1000);
      return true;
    },
    movesClock: true,
    outcomes: [0],
  },
  {
    name: 'COW space full',
    suits: ({ name }) => name === 'lvm-classic',
    // Every block is written twice then, and the load's come after them.
    ownStallMs: 60_000,
    strike: async ({ world, run, later }) => {
      while (!run.hasEnded && !(await hasSnapshot())) await sleep(50);
      if (run.hasEnded) return false;
      const file = path.join(world.mountpoint, 'somebody-elses');
      later(() => rmSync(file, { force: true }));
      const what = ['if=/dev/zero', `of=${file}`, 'bs=1M', `count=${OVERWRITTEN_MIB}`, 'conv=fsync'];
      await runCommand(['dd', 'status=none', ...what], { timeoutMs: 120_000 });
      return true;
    },
    // 0 and 60: it was removed before it was full, or while it was looked at.
    outcomes: [0, 31, 60],
  },
];
