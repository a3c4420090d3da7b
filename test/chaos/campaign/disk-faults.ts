import { setTimeout as sleep } from 'node:timers/promises';
import type { JobRun } from '../job-run.js';
import type { DrawableWorld } from './draw.js';
import type { Fault } from './fault.js';

const isSwitchable = ({ hasSwitchableDisks }: DrawableWorld): boolean => hasSwitchableDisks === true;

/** For so long, or until the run has ended. */
async function during(run: JobRun, ms: number): Promise<void> {
  await Promise.race([sleep(ms), run.whenEnded()]);
}

/**
 * Disks that stall and disks that fail, and a pool that is full. Who writes beside the run waits as well: for as long as the
 * disk does, which the filesystem beside it tells, and no longer.
 */
export const DISK_FAULTS: readonly Fault[] = [
  {
    name: 'storage stalls',
    suits: isSwitchable,
    strike: async ({ world: { switchable }, run, random, later }) => {
      if (run.hasEnded || switchable === undefined) return false;
      later(() => switchable.storage.mend());
      await switchable.storage.stall(random.between(100, 1500));
      await during(run, random.between(1, 10) * 1000);
      await switchable.storage.mend();
      return true;
    },
    outcomes: [0, 21, 30],
  },
  {
    name: 'storage fails',
    suits: isSwitchable,
    strike: async ({ world: { switchable }, run, later }) => {
      if (run.hasEnded || switchable === undefined) return false;
      later(() => switchable.storage.mend());
      await switchable.storage.fail();
      return true;
    },
    breaks: 'origin',
    outcomes: [0, 1, 3, 20, 21, 30, 31, 40, 41, 60],
  },
  {
    name: 'target stalls',
    suits: isSwitchable,
    strike: async ({ world: { switchable }, run, random, later }) => {
      if (run.hasEnded || switchable === undefined) return false;
      later(() => switchable.target.mend());
      await switchable.target.stall(random.between(100, 1000));
      await during(run, random.between(1, 10) * 1000);
      await switchable.target.mend();
      return true;
    },
    outcomes: [0],
  },
  {
    name: 'target fails',
    suits: isSwitchable,
    strike: async ({ world: { switchable, repairTarget }, run, later }) => {
      if (run.hasEnded || switchable === undefined) return false;
      later(async () => {
        await switchable.target.mend();
        await repairTarget?.();
      });
      await switchable.target.fail();
      return true;
    },
    // 0: it struck after the backup was complete, and synced.
    outcomes: [0, 1, 2, 3, 40],
  },
  {
    name: 'thin pool full',
    suits: ({ name }) => name === 'lvm-thin',
    strike: async ({ world, run, random, later }) => {
      if (run.hasEnded || world.fillStorage === undefined) return false;
      let undo: (() => Promise<void>) | undefined;
      const empty = async (): Promise<void> => {
        const once = undo;
        undo = undefined;
        await once?.();
      };
      undo = await world.fillStorage();
      later(empty);
      await during(run, random.between(1, 15) * 1000);
      await empty();
      return true;
    },
    // 3: refused, since the pool is over its threshold. 31: stopped, for the same.
    outcomes: [0, 3, 30, 31],
  },
];
