import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import type { FaultPoint } from '../support/fault-points.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import { casesOf } from './fault-point-cases.js';
import { outcomesOf } from './fault-point-outcomes.js';
import { attackBoundary, needsCommand } from './fault-point-suite.js';
import { chaosTools, type ChaosTools } from './tools.js';
import { HOST_WORLDS, OTHER_WORLDS } from './worlds/host-worlds.js';
import type { World } from './worlds/world.js';

/** So many runs wait for their deadlines side by side, each with disks of its own. */
const LANES = 4;
const WORLD_OF: Readonly<Record<string, string>> = {
  base: 'btrfs-send',
  btrfs: 'btrfs-snapshot',
  command: 'ext4-command',
};
const WORLDS = { ...HOST_WORLDS, ...OTHER_WORLDS };

function kindOf({ name }: FaultPoint): string {
  return name.split('.')[0] ?? '';
}

interface Lane {
  disks: ThrowawayDisks;
  worlds: Map<string, World>;
}

const lanes: Lane[] = [];
const idle: Lane[] = [];
const waiting: ((lane: Lane) => void)[] = [];
let tools: ChaosTools;

async function withLane(work: (lane: Lane) => Promise<void>): Promise<void> {
  const lane = idle.pop() ?? (await new Promise<Lane>((resolve) => waiting.push(resolve)));
  try {
    await work(lane);
  } finally {
    const next = waiting.shift();
    if (next === undefined) idle.push(lane);
    else next(lane);
  }
}

async function worldOf({ disks, worlds }: Lane, name: string): Promise<World> {
  const known = worlds.get(name);
  if (known !== undefined) return known;
  const world = await WORLDS[name]?.({ disks, loadProgram: tools.loadProgram });
  if (world === undefined) throw new Error(`no world ${name}`);
  worlds.set(name, world);
  return world;
}

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync', 'program:cc'], 'a boundary', () => {
  beforeAll(async () => {
    tools = await chaosTools();
    for (let count = 0; count < LANES; count += 1)
      lanes.push({ disks: new ThrowawayDisks(), worlds: new Map() });
    idle.push(...lanes);
  });

  afterAll(async () => {
    for (const { disks, worlds } of lanes) {
      for (const { load, control } of worlds.values()) {
        await load.stop();
        await control.stop();
      }
      await disks.dispose();
    }
    await tools.remove();
  });

  it.concurrent.each(casesOf('host'))(
    '%s, made to %s, leaves nothing frozen, nothing behind, nothing bad called good',
    async (_name, action, point) => {
      await withLane(async (lane) => {
        const kind = needsCommand(point) ? 'command' : kindOf(point);
        const world = await worldOf(lane, WORLD_OF[kind] ?? 'ext4-reflink-xfs');
        const outcome = await attackBoundary(
          { faultCli: tools.faultCli, disks: lane.disks, world },
          point,
          action,
        );
        expect(outcome.hits, `it was not come to: ${outcome.said}`).toContain(point.name);
        expect(outcomesOf(point, action, world.freezes), outcome.said).toContain(outcome.ended);
        expect(outcome.stalledMs).toBeLessThan(outcome.allowedMs);
        expect(outcome.recoverExitCode).toBe(0);
        expect(outcome.left).toEqual([]);
        expect(outcome.wrong).toEqual([]);
      });
    },
    // Those before it may each have waited for a guard that never answers.
    600_000,
  );
});
