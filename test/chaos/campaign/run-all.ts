import type { World } from '../worlds/world.js';
import { drawRun, type DrawnRun } from './draw.js';
import type { ChaosEnvironment } from './environments.js';
import { doRun, type Campaign, type RunResult } from './one-run.js';

export interface CampaignPlan {
  environment: ChaosEnvironment;
  seed: number;
  indices: readonly number[];
  /** So many worlds have a run at the same time. */
  lanes: number;
  campaign: Campaign;
  loadProgram: string;
  /** Aborted: the runs that have begun are the last. */
  signal: AbortSignal;
  onResult: (result: RunResult) => void;
}

/** Does the runs, those of one world one after the other. All loads have ended when it settles. */
export async function runAll(plan: CampaignPlan): Promise<RunResult[]> {
  const { environment, campaign, loadProgram, signal } = plan;
  const waiting = plan.indices.map((index) =>
    drawRun(plan.seed, index, environment.worlds, environment.faults, environment.pace.runMs),
  );
  const worlds = new Map<string, World>();
  const busy = new Set<string>();
  const results: RunResult[] = [];

  const next = (): DrawnRun | undefined => {
    const at = waiting.findIndex(({ world }) => !busy.has(world));
    return at === -1 || signal.aborted ? undefined : waiting.splice(at, 1)[0];
  };
  const worldOf = async (name: string): Promise<World> => {
    const known = worlds.get(name);
    if (known !== undefined) return known;
    const made = await environment.worlds
      .find((world) => world.name === name)
      ?.make({ disks: campaign.disks, loadProgram, loadSlower: environment.loadSlower });
    if (made === undefined) throw new Error(`no world ${name}`);
    worlds.set(name, made);
    return made;
  };
  const lane = async (): Promise<void> => {
    for (let drawn = next(); drawn !== undefined; drawn = next()) {
      busy.add(drawn.world);
      try {
        const result = await doRun(drawn, await worldOf(drawn.world), campaign, environment);
        results.push(result);
        plan.onResult(result);
      } finally {
        busy.delete(drawn.world);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: plan.lanes }, lane));
  } finally {
    for (const { load, control } of worlds.values()) {
      await load.stop();
      await control.stop();
    }
  }
  return results;
}
