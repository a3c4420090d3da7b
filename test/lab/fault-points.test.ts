import { afterAll, beforeAll, expect, it } from 'vitest';
import { outcomesOf, type Action } from '../chaos/fault-point-outcomes.js';
import { attackBoundary } from '../chaos/fault-point-suite.js';
import { chaosTools, type ChaosTools } from '../chaos/tools.js';
import { lvmWorld, zfsWorld, type LvmStack } from '../chaos/worlds/lab-worlds.js';
import type { World, WorldParts } from '../chaos/worlds/world.js';
import { listFaultPoints, type FaultPoint } from '../support/fault-points.js';
import { LabPool } from '../support/lab-pool.js';
import { describeInLab, type LabSuite } from '../support/lab.js';
import { LabVolumeGroup } from '../support/lvm-lab.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';

// The boundaries of the providers that only the lab's kernels have something for; the others, and what is expected of
// each: test/chaos/fault-points.test.ts.

/** Under emulation a program needs seconds to start, and some of them run in the window. */
const TIMEOUT_MS = 10_000;

const ACTIONS: readonly Action[] = ['kill', 'stop', 'fail:EIO'];

type Case = [name: string, action: Action, point: FaultPoint];

/** In such an order that guests who take every second or third of them all meet each action. */
function casesOf(isMeant: (name: string) => boolean): Case[] {
  const points = listFaultPoints().filter(({ name }) => isMeant(name));
  return ACTIONS.flatMap((action, turn) =>
    [...points.slice(turn), ...points.slice(0, turn)]
      .filter(({ canFail }) => action !== 'fail:EIO' || canFail)
      .map((point): Case => [point.name, action, point]),
  );
}

/** A world, and how what it lies on is undone. */
interface Made {
  world: World;
  dispose: () => Promise<void>;
}

function attack(cases: readonly Case[], make: (parts: WorldParts) => Promise<Made>): void {
  const disks = new ThrowawayDisks();
  let tools: ChaosTools;
  let made: Made | undefined;

  beforeAll(async () => {
    tools = await chaosTools();
    made = await make({ disks, loadProgram: tools.loadProgram });
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
    600_000,
  );
}

function attackLvm(stack: LvmStack, { disks, share }: LabSuite, isMeant: (name: string) => boolean): void {
  attack(share(casesOf(isMeant)), async (parts) => {
    const group = await LabVolumeGroup.make(`chaos-${stack}`, disks.slice(0, stack === 'mirror' ? 2 : 1));
    return { world: await lvmWorld(stack, parts, group), dispose: () => group.dispose() };
  });
}

/** What is done before a freeze of ours; where lvcreate freezes by itself there is nothing to do. */
const BEFORE_THE_FREEZE = 'lvm.made-ready';

function isOfLvm(name: string): boolean {
  return name.startsWith('lvm.') && name !== BEFORE_THE_FREEZE;
}

describeInLab({}, 'a boundary of a classic snapshot', (suite) => attackLvm('classic', suite, isOfLvm));
describeInLab({}, 'a boundary of a thin snapshot', (suite) => attackLvm('thin', suite, isOfLvm));
describeInLab({ kernel: 'nests' }, 'a boundary of a snapshot in a freeze of ours', (suite) =>
  attackLvm('held', suite, (name) => [BEFORE_THE_FREEZE, 'lvm.created'].includes(name)),
);
describeInLab({ kernel: ['leaks', 'nests'] }, 'a boundary of a split mirror', (suite) =>
  attackLvm('mirror', suite, (name) => name.startsWith('mirror.')),
);
describeInLab({ zfs: true }, 'a boundary of a snapshot of ZFS', ({ disks, share }) => {
  attack(share(casesOf((name) => name.startsWith('zfs.'))), async (parts) => {
    const pool = await LabPool.make('chaos', disks.slice(0, 1));
    return { world: await zfsWorld(parts, pool), dispose: () => pool.dispose() };
  });
});
