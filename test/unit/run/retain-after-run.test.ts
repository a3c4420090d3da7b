import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { RunReport } from '../../../src/report/run-report.js';
import type { ExecuteDependencies } from '../../../src/run/dependencies.js';
import { executePlan } from '../../../src/run/execute.js';
import { failure, FakeWorld } from '../../support/fake-world.js';
import { aJob, fakeDetectors, hostFacts } from '../../support/plan-facts.js';

let world: FakeWorld;
let directory: string;

beforeEach(async () => {
  world = new FakeWorld();
  directory = await mkdtemp(path.join(os.tmpdir(), 'retain-'));
});
afterEach(async () => {
  if (world.violations.length > 0) throw new Error(world.violations.join('\n'));
  await rm(directory, { recursive: true });
});

const TARGET = { engine: 'rsync', mustBeMountpoint: false } as const;

/** A run to two targets of which the first keeps by a rule and the second all. */
async function run(changes: Partial<ExecuteDependencies> = {}): Promise<RunReport> {
  const targets = [
    { ...TARGET, path: '/b1', keep: { daily: 7 } },
    { ...TARGET, path: '/b2' },
  ];
  const plan = makePlan(aJob({ targets }), hostFacts(), fakeDetectors(), { force: false });
  expect(plan.steps.map(({ detail }) => detail)).toContain('in /b1: keep daily 7');
  return await executePlan(
    plan,
    { ...world.dependencies(directory), ...changes },
    {
      runId: 'run',
      startedAt: new Date('2026-11-23T18:45:00Z'),
      warnings: [],
      signal: new AbortController().signal,
    },
  );
}

describe('retention after a run', () => {
  it('comes once nothing is held any more, in the targets that have rules', async () => {
    const report = await run();
    expect(world.log.filter((call) => call.startsWith('retain'))).toEqual(['retain /b1']);
    expect(world.log.indexOf('retain /b1')).toBeGreaterThan(world.log.indexOf('remove'));
    expect(world.steps).toContain('retention in /b1');
    expect(report).toMatchObject({
      outcome: 'success',
      retention: [{ target: '/b1', removed: ['old'], failed: [] }],
    });
  });

  it('is told which backup the run made', async () => {
    const told: string[] = [];
    await run({
      retain: async ({ path: target }, job, { runId }) => {
        told.push(runId);
        return { target, job, verdicts: [], removed: [], failed: [], interrupted: [] };
      },
    });
    expect(told).toEqual(['run']);
  });

  it('leaves a target alone whose backup failed or lacks files', async () => {
    world.fail('copy /b1', failure('copyFailed'));
    expect((await run()).exitCode).toBe(40);
    const partial = {
      ...world.engine,
      copy: async () => await Promise.resolve({ bytes: 1, files: 1, unreadable: ['/srv/x'] }),
    };
    expect((await run({ engine: () => partial })).exitCode).toBe(41);
    expect(world.log.filter((call) => call.startsWith('retain'))).toEqual([]);
  });

  it('is a warning when it fails: the backup is good', async () => {
    world.fail('retain /b1', failure('failed', 'no reading the target'));
    const report = await run();
    expect(report).toMatchObject({ outcome: 'warnings', exitCode: 3 });
    expect(report.warnings).toContain('retention in /b1 failed: no reading the target');
    const half = await run({
      retain: async (target, job) =>
        await Promise.resolve({
          target: target.path,
          job,
          verdicts: [],
          removed: [],
          failed: [{ backupId: 'x', message: 'x is not removed: immutable' }],
          interrupted: [],
        }),
    });
    expect(half).toMatchObject({ outcome: 'warnings', exitCode: 3, retention: [{ failed: ['x'] }] });
    expect(half.warnings).toContain('x is not removed: immutable');
    const reasons = ['u is damaged, and may need it'];
    const held = await run({
      retain: async (target, job) =>
        await Promise.resolve({
          target: target.path,
          job,
          verdicts: [
            { backupId: 'x', action: 'keep', reasons, flaw: undefined, heldFor: 'u', state: 'complete' },
          ],
          removed: [],
          failed: [],
          interrupted: [],
        }),
    });
    expect(held).toMatchObject({ outcome: 'warnings', exitCode: 3 });
    expect(held.warnings).toContainEqual(
      expect.stringContaining('removes nothing older than u, which cannot be read'),
    );
  });
});
