import { writeSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import type { ChaosEnvironment } from './campaign/environments.js';
import { runAll } from './campaign/run-all.js';
import { describeRun, summarise } from './campaign/summary.js';
import { chaosTools, type ChaosTools } from './tools.js';

const SEED = 1;

/** A part of a campaign as a test. */
export interface CampaignShape {
  runs: number;
  /** So many worlds have a run at the same time. */
  lanes: number;
  /** Of so many runs at least, the backup was good, and compared. */
  atLeastGood: number;
  /** Whether each run is told as it ends: where they take many minutes. */
  isTold?: boolean;
}

/** The first runs of seed 1 in an environment. To be called in a `describe`. */
export function campaignIn(environment: ChaosEnvironment, shape: CampaignShape): void {
  const { runs, lanes, atLeastGood, isTold = false } = shape;
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
      const results = await runAll({
        environment,
        seed: SEED,
        indices: Array.from({ length: runs }, (_, index) => index),
        lanes,
        campaign: {
          disks,
          cli: path.resolve(import.meta.dirname, '../../bin/run.js'),
          faultCli: tools.faultCli,
        },
        loadProgram: tools.loadProgram,
        signal: new AbortController().signal,
        onResult: (result) => {
          if (isTold) writeSync(2, describeRun(result));
        },
      });
      writeSync(2, `${summarise(results)}\n`);
      const bad = results.filter(({ problems }) => problems.length > 0);
      expect(bad).toEqual([]);
      expect(results).toHaveLength(runs);
      expect(results.filter(({ struck }) => struck).length).toBeGreaterThan(runs / 2);
      expect(results.filter(({ good }) => good > 0).length).toBeGreaterThanOrEqual(atLeastGood);
    },
    // A bound against hanging for ever.
    3_600_000,
  );
}
