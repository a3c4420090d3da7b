import { writeSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import { ENVIRONMENTS } from './campaign/environments.js';
import { runAll } from './campaign/run-all.js';
import { summarise } from './campaign/summary.js';
import { chaosTools, type ChaosTools } from './tools.js';

/** Those that continuous integration does each time; more by `npm run chaos` (docs/reliability.md). */
const RUNS = 100;
const SEED = 1;

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync', 'program:cc'], 'a campaign', () => {
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
    `of ${RUNS} runs with a fault in each leaves nothing frozen, nothing behind, nothing bad called good`,
    async () => {
      const environment = ENVIRONMENTS['host'];
      if (environment === undefined) throw new Error('no host');
      const results = await runAll({
        environment,
        seed: SEED,
        indices: Array.from({ length: RUNS }, (_, index) => index),
        lanes: 3,
        campaign: {
          disks,
          cli: path.resolve(import.meta.dirname, '../../bin/run.js'),
          faultCli: tools.faultCli,
        },
        loadProgram: tools.loadProgram,
        signal: new AbortController().signal,
        onResult: () => undefined,
      });
      writeSync(2, `${summarise(results)}\n`);
      const bad = results.filter(({ problems }) => problems.length > 0);
      expect(bad).toEqual([]);
      expect(results).toHaveLength(RUNS);
      expect(results.filter(({ struck }) => struck).length).toBeGreaterThan(RUNS / 2);
      expect(results.filter(({ good }) => good > 0).length).toBeGreaterThan(RUNS / 5);
    },
    // A bound against hanging for ever: some two minutes on a quiet machine.
    3_600_000,
  );
});
