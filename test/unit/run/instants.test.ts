import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan } from '../../../src/plan/plan.js';
import type { RunReport } from '../../../src/report/run-report.js';
import { executePlan } from '../../../src/run/execute.js';
import { SourceRecord, type Stall } from '../../../src/run/source-record.js';
import type { FreezeMode } from '../../../src/snapshots/provider.js';
import { failure, FakeWorld } from '../../support/fake-world.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
  suits,
} from '../../support/plan-facts.js';

let world: FakeWorld;
let directory: string;

beforeEach(async () => {
  world = new FakeWorld();
  directory = await mkdtemp(path.join(os.tmpdir(), 'mnt-'));
});

afterEach(async () => {
  if (world.violations.length > 0) throw new Error(world.violations.join('\n'));
  await rm(directory, { recursive: true });
});

/** Filesystems of one job, each taken in the mode given for it. */
function aPlan(modes: Readonly<Record<string, FreezeMode>>): Plan {
  const paths = Object.keys(modes);
  const filesystems = paths.map((mountpoint, index) =>
    aFilesystem({ mountpoint, majorMinor: `7:${index + 1}` }),
  );
  return makePlan(
    aJob({ attempts: 1, sources: paths.map((one) => aSource({ path: one, snapshot: 'command' })) }),
    hostFacts({ targets: [], sources: filesystems.map((filesystem) => sourceFacts(filesystem)) }),
    fakeDetectors({ command: ({ mount }) => suits([modes[mount.mountpoint] ?? 'explicit']) }),
    { force: false },
  );
}

async function execute(plan: Plan): Promise<RunReport> {
  return await executePlan(plan, world.dependencies(directory), {
    runId: 'run',
    startedAt: new Date('2026-11-23T18:45:00Z'),
    warnings: [],
    signal: new AbortController().signal,
  });
}

/** Every filesystem in a window of its own. */
function oneByOne(plan: Plan): Plan {
  const windows = plan.sources.map((_, index) => ({ freeze: [index], snapshots: [index] }));
  return { ...plan, windows };
}

describe('the report of a run', () => {
  it.each([
    ['all were held frozen', { '/a': 'explicit', '/b': 'explicit' }, true, [1, 1]],
    ['one was made while the other was held', { '/a': 'explicit', '/b': 'atomic' }, true, [1, 1]],
    ['each was made by itself', { '/a': 'atomic', '/b': 'native' }, false, [1, 2]],
  ] as const)(
    'says whether all is at one instant, and is no warning: %s',
    async (_, modes, oneInstant, instants) => {
      const report = await execute(aPlan(modes));
      expect(report).toMatchObject({ exitCode: 0, warnings: [], oneInstant });
      expect(report.sources.map(({ instant }) => instant)).toEqual(instants);
      expect(world.backups.get('/backup')?.report).toMatchObject({ oneInstant });
    },
  );

  it('goes by the windows that there were, whatever the plan says', async () => {
    const plan = aPlan({ '/a': 'explicit', '/b': 'explicit' });
    expect(plan.oneInstant).toBe(true);
    const report = await execute(oneByOne(plan));
    expect(report).toMatchObject({ oneInstant: false, sources: [{ instant: 1 }, { instant: 2 }] });
  });

  it('claims nothing of snapshots that were not taken', async () => {
    world.fail('create 1', failure('snapshotFailed'));
    const report = await execute(oneByOne(aPlan({ '/a': 'explicit', '/b': 'explicit' })));
    expect(report).toMatchObject({ oneInstant: false, sources: [{ instant: null }, { instant: null }] });
  });

  it('counts a freeze only that was held to the end', () => {
    const [source] = aPlan({ '/a': 'explicit' }).sources;
    if (source === undefined) throw new Error('no source');
    const span = { startedAt: '', finishedAt: '', durationMs: 1 };
    const target = { mountpoint: '/a', majorMinor: '7:1', device: '/dev/loop1', fstype: 'ext4' };
    const times = { target, frozenMs: 1, freezeCallMs: 1, thawMs: 1 };
    const heldWhen = (frozen: Stall['frozen']): boolean => {
      const record = new SourceRecord(source);
      record.stalled({ frozen, suspended: undefined });
      record.taken('x', span, 0);
      return record.instantCandidate.isHeld;
    };
    expect(heldWhen({ ...times, lost: undefined })).toBe(true);
    expect(heldWhen({ ...times, lost: 'timeout' })).toBe(false);
    expect(heldWhen(undefined)).toBe(false);
  });
});

describe('a job that must be at one instant', () => {
  it('copies nothing when it is not, against its plan', async () => {
    const plan = { ...oneByOne(aPlan({ '/a': 'explicit', '/b': 'explicit' })), mustBeOneInstant: true };
    const report = await execute(plan);
    expect(report).toMatchObject({
      exitCode: 30,
      error: { code: 'snapshotFailed', message: expect.stringContaining('/a; /b') as string },
      copies: [],
    });
    expect(world.log).not.toContain('expose');
    expect(world.held).toEqual([]);
  });

  it('is copied when it is', async () => {
    const plan = { ...aPlan({ '/a': 'explicit', '/b': 'explicit' }), mustBeOneInstant: true };
    expect(await execute(plan)).toMatchObject({ exitCode: 0, copies: [{}] });
  });
});
