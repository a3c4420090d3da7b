import { afterAll, beforeAll, expect, it } from 'vitest';
import { casesOf, type FaultCase } from '../chaos/fault-point-cases.js';
import { outcomesOf } from '../chaos/fault-point-outcomes.js';
import { attackBoundary } from '../chaos/fault-point-suite.js';
import { chaosTools, type ChaosTools } from '../chaos/tools.js';
import { lvmWorld, zfsWorld, type LvmStack } from '../chaos/worlds/lab-worlds.js';
import type { World, WorldParts } from '../chaos/worlds/world.js';
import { LabPool } from '../support/lab-pool.js';
import { describeInLab, type LabSuite } from '../support/lab.js';
import { LabVolumeGroup } from '../support/lvm-lab.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';

// The boundaries of the providers that only the lab's kernels have something for; the others, and what is expected of
// each: test/chaos/fault-points.test.ts.

/** Under emulation, beside other work, an lvcreate was seen to take more than 20 s. */
const TIMEOUT_MS = 60_000;
/** At its own pace the load takes all the time that an emulated processor has, and more than a fifth of one at 25. */
const LOAD_SLOWER = 100;

/** A world, and how what it lies on is undone. */
interface Made {
  world: World;
  dispose: () => Promise<void>;
}

function attack(cases: readonly FaultCase[], make: (parts: WorldParts) => Promise<Made>): void {
  const disks = new ThrowawayDisks();
  let tools: ChaosTools;
  let made: Made | undefined;

  beforeAll(async () => {
    tools = await chaosTools();
    made = await make({ disks, loadProgram: tools.loadProgram, loadSlower: LOAD_SLOWER });
  });

  afterAll(async () => {
    await made?.world.load.stop();
    await made?.world.control.stop();
    await disks.dispose();
    await made?.dispose();
  });

  it.each(cases)(
    '%s, made to %s, leaves nothing frozen, nothing behind, nothing bad called good',
    async (_name, action, point) => {
      if (made === undefined) throw new Error('there is no world');
      const { world } = made;
      const { faultCli } = tools;
      const outcome = await attackBoundary({ faultCli, disks, world, timeoutMs: TIMEOUT_MS }, point, action);
      expect(outcome.hits, `it was not come to: ${outcome.said}`).toContain(point.name);
      expect(outcomesOf(point, action, world.freezes), outcome.said).toContain(outcome.ended);
      expect(outcome.stalledMs).toBeLessThan(outcome.allowedMs);
      expect(outcome.recoverExitCode).toBe(0);
      expect(outcome.left).toEqual([]);
      expect(outcome.wrong).toEqual([]);
    },
    1_800_000,
  );
}

function attackLvm(stack: LvmStack, cases: readonly FaultCase[], { disks, share }: LabSuite): void {
  attack(share(cases), async (parts) => {
    const group = await LabVolumeGroup.make(`chaos-${stack}`, disks.slice(0, stack === 'mirror' ? 2 : 1));
    return { world: await lvmWorld(stack, parts, group), dispose: () => group.dispose() };
  });
}

describeInLab({ thorough: true }, 'a boundary of a classic snapshot', (suite) => {
  attackLvm('classic', casesOf('native'), suite);
});
describeInLab({ thorough: true }, 'a boundary of a thin snapshot', (suite) => {
  // Begun one later: what a guest attacks here is not what it attacks there.
  const [first, ...others] = casesOf('native');
  attackLvm('thin', first === undefined ? others : [...others, first], suite);
});
describeInLab(
  { thorough: true, kernel: 'nests' },
  'a boundary of a snapshot in a freeze of ours',
  (suite) => {
    attackLvm('held', casesOf('held'), suite);
  },
);
describeInLab({ thorough: true, kernel: ['leaks', 'nests'] }, 'a boundary of a split mirror', (suite) => {
  attackLvm('mirror', casesOf('mirror'), suite);
});
describeInLab({ thorough: true, zfs: true }, 'a boundary of a snapshot of ZFS', ({ disks, share }) => {
  attack(share(casesOf('zfs')), async (parts) => {
    const pool = await LabPool.make('chaos', disks.slice(0, 1));
    return { world: await zfsWorld(parts, pool), dispose: () => pool.dispose() };
  });
});
