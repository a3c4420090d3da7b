import { writeSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import { isSpent, type Budget } from './campaign/budget.js';
import type { ChaosEnvironment } from './campaign/environments.js';
import { runAll } from './campaign/run-all.js';
import { describeRun, summarise } from './campaign/summary.js';
import { chaosTools, type ChaosTools } from './tools.js';

const SEED = 1;

/** A part of a campaign as a test. */
export interface CampaignShape {
  runs: number;
  /** The indices of those that are done first; the others follow in their order. */
  first?: readonly number[];
  /** So many worlds have a run at the same time. */
  lanes: number;
  /** Of one run in so many at least, the backup was good, and compared. */
  goodOneIn: number;
  budget?: Budget;
  /** Whether each run is told as it ends: where they take many minutes. */
  isTold?: boolean;
}

/** The first runs of seed 1 in an environment. To be called in a `describe`. */
export function campaignIn(environment: ChaosEnvironment, shape: CampaignShape): void {
  const { runs, first = [], lanes, goodOneIn, budget, isTold = false } = shape;
  const indices = [...new Set([...first, ...Array.from({ length: runs }, (_, index) => index)])];
  const disks = new ThrowawayDisks();
  let tools: ChaosTools;

  beforeAll(async () => {
    tools = await chaosTools();
  });

  afterAll(async () => {
    await disks.dispose();
    await tools.remove();
  });

  it(
    `of ${runs} runs with a fault in each leaves nothing frozen, nothing behind, nothing bad called good`,
    async () => {
      const isOver = new AbortController();
      const begun = performance.now();
      let done = 0;
      const results = await runAll({
        environment,
        seed: SEED,
        indices,
        lanes,
        campaign: {
          disks,
          cli: path.resolve(import.meta.dirname, '../../bin/run.js'),
          faultCli: tools.faultCli,
        },
        loadProgram: tools.loadProgram,
        signal: isOver.signal,
        onResult: (result) => {
          if (isTold) writeSync(2, describeRun(result));
          done += 1;
          if (budget !== undefined && isSpent(budget, done, performance.now() - begun)) isOver.abort();
        },
      });
      writeSync(2, `${summarise(results)}\n`);
      if (results.length < runs)
        writeSync(2, `this machine had time for ${results.length} of ${runs} runs\n`);
      const bad = results.filter(({ problems }) => problems.length > 0);
      expect(bad).toEqual([]);
      expect(results.length).toBeGreaterThanOrEqual(budget?.atLeast ?? runs);
      expect(results.filter(({ struck }) => struck).length).toBeGreaterThan(results.length / 2);
      const good = results.filter((result) => result.good > 0).length;
      expect(good).toBeGreaterThanOrEqual(Math.floor(results.length / goodOneIn));
    },
    // A bound against hanging for ever.
    3_600_000,
  );
}
