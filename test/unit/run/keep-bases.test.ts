import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CopyRequest } from '../../../src/copy/engine.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { RunReport } from '../../../src/report/run-report.js';
import type { ExecuteDependencies } from '../../../src/run/dependencies.js';
import { executePlan } from '../../../src/run/execute.js';
import { failure, FakeWorld } from '../../support/fake-world.js';
import { aFilesystem, aJob, fakeDetectors, hostFacts, sourceFacts } from '../../support/plan-facts.js';

let world: FakeWorld;
let directory: string;
let asked: CopyRequest[];

beforeEach(async () => {
  world = new FakeWorld();
  asked = [];
  directory = await mkdtemp(path.join(os.tmpdir(), 'mnt-'));
});

afterEach(async () => {
  expect(world.held).toEqual([]);
  if (world.violations.length > 0) throw new Error(world.violations.join('\n'));
  await rm(directory, { recursive: true });
});

const TARGETS = ['/b1', '/b2'].map((target) => ({
  path: target,
  engine: 'image' as const,
  mustBeMountpoint: false,
}));

/** A run by an engine that keeps what it copied from. */
async function run(runId: string, targets = TARGETS): Promise<RunReport> {
  const device = { name: 'loop1', majorMinor: '7:1', backingFile: undefined, dmUuid: undefined };
  const sources = [sourceFacts({ ...aFilesystem(), stack: [device] })];
  const facts = hostFacts({ targets: [], sources });
  const plan = makePlan(aJob({ targets }), facts, fakeDetectors(), { force: false });
  const dependencies: ExecuteDependencies = world.dependencies(directory);
  const engine: ExecuteDependencies['engine'] = () => ({
    ...world.engine,
    copy: async (request) => {
      asked.push(request);
      const result = await world.engine.copy(request);
      const keep = request.sources.flatMap(({ snapshot }) =>
        snapshot === undefined ? [] : [{ snapshot, identity: 'proof' }],
      );
      return { ...result, keep };
    },
  });
  const signal = new AbortController().signal;
  const options = { runId, startedAt: new Date(), warnings: [], signal };
  return await executePlan(plan, { ...dependencies, engine }, options);
}

const kept = (): string[] => [...world.kept];

it('keeps one snapshot for all targets, and lets go of the one before only when no target needs it', async () => {
  await run('one');
  const [first = ''] = kept();
  expect(kept()).toEqual([first]);
  expect(asked.map(({ base }) => base)).toEqual([undefined, undefined]);
  expect([...world.journal]).toEqual([]);

  // The second target stays with the first one.
  world.fail('copy /b2', failure('copyFailed'));
  const failed = await run('two');
  expect(failed.outcome).not.toBe('success');
  expect(kept()).toHaveLength(2);
  expect(asked[2]?.base).toMatchObject({ backupId: 'one', dataDirectory: '/b1' });

  await run('three');
  expect(asked.slice(-2).map(({ base }) => base?.backupId)).toEqual(['two', 'one']);
  expect(kept()).toHaveLength(1);
  expect(kept()).not.toEqual([first]);
  expect([...world.journal]).toEqual([]);
});

it('journals the one before as something to release, then changes the record, then releases it', async () => {
  const [target] = TARGETS;
  if (target === undefined) throw new Error('no target');
  await run('one', [target]);
  world.log.length = 0;
  await run('two', [target]);
  const complete = world.log.indexOf('complete /b1');
  const after = world.log.slice(complete + 1);
  const [journalled, written, removed] = ['journal snapshot', 'write base', 'remove'].map((call) =>
    after.indexOf(call),
  );
  expect(journalled).toBeGreaterThanOrEqual(0);
  expect(written).toBeGreaterThan(journalled ?? 0);
  expect(removed).toBeGreaterThan(written ?? 0);
});

it('calls a backup good although its snapshot could not be kept, and keeps the base before', async () => {
  const [target] = TARGETS;
  if (target === undefined) throw new Error('no target');
  await run('one', [target]);
  const before = kept();
  expect(before).toHaveLength(1);
  world.fail('write base', failure('failed', 'no room'));
  const report = await run('two', [target]);
  expect(report).toMatchObject({ outcome: 'warnings', copies: [{ target: '/b1' }] });
  expect(report.warnings.join()).toMatch(/full one: no room/);
  expect(kept()).toEqual(before);
});

it('gives no base of a backup that the target does not have any more', async () => {
  const [target] = TARGETS;
  if (target === undefined) throw new Error('no target');
  await run('one', [target]);
  world.backups.clear();
  const report = await run('two', [target]);
  expect(asked.at(-1)?.base).toBeUndefined();
  expect(report.warnings.join()).toMatch(/has no backup one any more/);
});

it('makes no increment of a backup that is doubtful, says so, and goes on from the full one', async () => {
  const [target] = TARGETS;
  if (target === undefined) throw new Error('no target');
  await run('one', [target]);
  world.doubts.set('/b1 one', 'the backup one failed its full verify of 2026-11-24');
  const report = await run('two', [target]);
  expect(asked.at(-1)?.base).toBeUndefined();
  expect([report.outcome, report.warnings]).toEqual([
    'warnings',
    [
      'in /b1, the backup one failed its full verify of 2026-11-24: a full backup is made, and no increment of one',
    ],
  ]);
  const third = await run('three', [target]);
  expect([third.outcome, asked.at(-1)?.base?.backupId]).toEqual(['success', 'two']);
  expect(kept()).toHaveLength(1);
});

it('keeps a base that is doubtful while no backup has taken its place', async () => {
  const [target] = TARGETS;
  if (target === undefined) throw new Error('no target');
  await run('one', [target]);
  const before = kept();
  world.doubts.set('/b1 one', 'the backup one failed its full verify of 2026-11-24');
  world.fail('copy /b1', failure('copyFailed'));
  await run('two', [target]);
  expect(kept()).toEqual(before);
  // Verified once more, and good.
  world.doubts.clear();
  await run('three', [target]);
  expect(asked.at(-1)?.base?.backupId).toBe('one');
});
