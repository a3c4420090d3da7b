import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GuardedDevice } from '../../../src/freeze/freezer.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan, PlannedSource } from '../../../src/plan/plan.js';
import type { RunReport } from '../../../src/report/run-report.js';
import { executePlan } from '../../../src/run/execute.js';
import { windowOrigins } from '../../../src/run/prepare-window.js';
import type { FreezeMode } from '../../../src/snapshots/provider.js';
import type { BlockDevice } from '../../../src/system/block-stack.js';
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
  world.devices = [guarded('vg-srv', '252:1'), guarded('vg-srv-real', '252:0')];
  directory = await mkdtemp(path.join(os.tmpdir(), 'mnt-'));
});
afterEach(async () => {
  if (world.violations.length > 0) throw new Error(world.violations.join('\n'));
  expect(world.held).toEqual([]);
  expect([...world.journal]).toEqual([]);
  await rm(directory, { recursive: true });
});

function guarded(name: string, majorMinor: string): GuardedDevice {
  return { name, majorMinor, mountpoints: ['/srv'] };
}

function dm(name: string, majorMinor: string): BlockDevice {
  return { name, majorMinor, backingFile: undefined, dmUuid: `LVM-${name}` };
}

/** One filesystem on two device-mapper devices. */
function aPlan(freezeMode: FreezeMode, { attempts = 3 } = {}): Plan {
  const filesystem = {
    ...aFilesystem({ majorMinor: '252:1' }),
    stack: [dm('dm-1', '252:1'), dm('dm-0', '252:0')] as const,
  };
  return makePlan(
    aJob({
      attempts,
      sources: [aSource({ snapshot: 'command' })],
      quiesce: [{ name: 'db', before: ['before db'], after: ['after db'], timeoutMs: 1000 }],
    }),
    hostFacts({ targets: [], sources: [sourceFacts(filesystem)] }),
    fakeDetectors({ command: () => suits([freezeMode]) }),
    { force: false },
  );
}

async function execute(plan: Plan): Promise<RunReport> {
  return await executePlan(plan, world.dependencies(directory), {
    runId: 'run',
    startedAt: new Date(0),
    warnings: [],
    signal: new AbortController().signal,
  });
}

/** The calls from the first to the last of the window. */
function windowCalls(): string[] {
  return world.log.slice(world.log.lastIndexOf('sync /srv'), world.log.lastIndexOf('close') + 1);
}

describe('a window in which the snapshot command itself freezes', () => {
  it('is watched, measured and told step by step', async () => {
    const report = await execute(aPlan('native'));
    expect(windowCalls()).toEqual([
      'sync /srv',
      'arm',
      'arm',
      'probe /srv',
      'watch',
      'create 1',
      'thaw',
      'close',
      'close',
    ]);
    expect(report).toMatchObject({
      exitCode: 0,
      consistency: 'application',
      // The uppermost device's time: that is what the writers waited.
      sources: [{ freezeMode: 'native', frozenMs: 3, freezeCallMs: null, thawMs: null }],
    });
    const steps = report.steps.map(({ step, frozen }) => (frozen ? `*${step}` : step));
    expect(steps.slice(steps.indexOf('sync'), steps.indexOf('*thaw') + 1)).toEqual([
      'sync',
      'arm',
      'probe',
      '*snapshot',
      '*thaw',
    ]);
    expect(world.guarded).toEqual([['/srv', '/srv']]);
  });

  it('is planned so too', () => {
    expect(aPlan('native').steps.map(({ step }) => step)).toContain('probe');
    expect(
      aPlan('native')
        .steps.filter(({ frozen }) => frozen)
        .map(({ step, detail }) => [step, detail]),
    ).toEqual([
      ['snapshot', expect.stringContaining('max-hold 60 s')],
      ['thaw', 'proof that no device is left suspended'],
    ]);
  });

  it('without a device to suspend is as any other: nothing is watched, and nothing called frozen', async () => {
    world.devices = [];
    const report = await execute(aPlan('native'));
    expect(windowCalls()).toEqual(['sync /srv', 'arm', 'probe /srv', 'create 1', 'close']);
    expect(report).toMatchObject({ exitCode: 0, sources: [{ frozenMs: null }] });
  });

  it('is not opened when a device is suspended already, and no application is stopped for it', async () => {
    world.fail('devices', failure('notFrozen', 'vg-srv is suspended already'));
    expect(await execute(aPlan('native'))).toMatchObject({
      exitCode: 20,
      error: { message: 'vg-srv is suspended already' },
    });
    for (const never of ['before db', 'sync /srv', 'arm']) expect(world.log).not.toContain(never);
  });

  it('looks again before each try', async () => {
    world.fail('create 1', failure('snapshotFailed'));
    await execute(aPlan('native'));
    expect(world.log.filter((call) => call === 'devices')).toHaveLength(3);
  });

  it('that left a device suspended took no snapshot: exit 21, and the volume is named', async () => {
    world.deviceLosses.push('left-suspended');
    world.fail('create 1', failure('snapshotFailed', 'lvcreate was ended by SIGKILL'));
    const report = await execute(aPlan('native', { attempts: 1 }));
    expect(report).toMatchObject({
      exitCode: 21,
      error: { code: 'freezeLost', message: expect.stringContaining('/srv (left-suspended)') as string },
      sources: [{ snapshot: null, frozenMs: 3 }],
    });
    expect(report.warnings).toContainEqual(
      expect.stringMatching(/vg-srv \(below \/srv\) suspended.*lvs -a/) as string,
    );
  });

  it('that succeeds at the next try still says that LVM wants a look', async () => {
    world.deviceLosses.push('left-suspended');
    const report = await execute(aPlan('native'));
    expect(report).toMatchObject({ exitCode: 3, sources: [{ attempts: 2, frozenMs: 3 }] });
    expect(report.warnings).toContain('/srv was frozen for 3 ms by a try that failed');
    expect(report.warnings).toHaveLength(3);
  });

  it('whose deadline passed is lost, though no device was found suspended', async () => {
    world.deviceLosses.push('timeout');
    const report = await execute(aPlan('native', { attempts: 1 }));
    expect(report).toMatchObject({ exitCode: 21, warnings: [] });
  });

  it('whose device cannot be resumed exits 22', async () => {
    world.fail('thaw', failure('thawFailed', 'vg-srv may still be suspended'));
    expect(await execute(aPlan('native'))).toMatchObject({ exitCode: 22 });
  });
});

describe('an origin that somebody else holds frozen', () => {
  /** A native snapshot after which its origin is looked at. */
  function doubtful(): Plan {
    const plan = aPlan('native');
    return { ...plan, sources: plan.sources.map((source) => ({ ...source, proveOrigin: true })) };
  }

  it('is found before an application is stopped for it: exit 20, and it is left so', async () => {
    world.fail('probe /srv', failure('notFrozen', '/srv is already frozen by someone else'));
    expect(await execute(doubtful())).toMatchObject({
      exitCode: 20,
      error: { code: 'notFrozen', message: '/srv is already frozen by someone else' },
      sources: [{ attempts: 0, snapshot: null }],
    });
    expect(world.log.slice(world.log.indexOf('arm'))).toEqual(['arm', 'sync /srv', 'probe /srv', 'close']);
  });

  it('is found at the last moment too: nothing is made, and it is not looked at afterwards', async () => {
    world.fail('probe /srv', () => undefined, failure('notFrozen'));
    const report = await execute(doubtful());
    expect(report).toMatchObject({ exitCode: 20, warnings: [], sources: [{ attempts: 1, snapshot: null }] });
    expect(world.log).toContain('after db');
    for (const never of ['watch', 'create 1', 'thaw']) expect(world.log).not.toContain(never);
    expect(world.log.filter((call) => call === 'probe /srv')).toHaveLength(2);
  });

  it('that does not look frozen is not probed until the last moment', async () => {
    world.looks = false;
    expect(await execute(aPlan('native'))).toMatchObject({ exitCode: 0 });
    expect(world.log.filter((call) => call === 'probe /srv')).toHaveLength(1);
    expect(world.log.indexOf('probe /srv')).toBeGreaterThan(world.log.indexOf('before db'));
  });

  it('by another run of fsbackup is waited for, as often as there are tries', async () => {
    world.fail('arm', failure('locked'), () => undefined, failure('locked'));
    expect(await execute(aPlan('native'))).toMatchObject({ exitCode: 0, sources: [{ attempts: 2 }] });
    world.fail('arm', failure('locked'), failure('locked'), failure('locked'));
    expect(await execute(aPlan('native'))).toMatchObject({ exitCode: 11, sources: [{ attempts: 0 }] });
  });

  it('is looked for once where it is mounted twice, and not where we freeze it ourselves', () => {
    const { sources } = aPlan('native');
    const [source] = sources;
    if (source === undefined) throw new Error('no source');
    const origins = (freeze: number[], other: Partial<PlannedSource>): string[] => {
      const both = [source, { ...source, mountpoint: '/bound', ...other }];
      return windowOrigins(
        { freeze, snapshots: [0, 1] },
        { plan: { ...aPlan('native'), sources: both } },
      ).map(({ majorMinor }) => majorMinor);
    };
    expect(origins([], {})).toEqual(['252:1']);
    expect(origins([], { majorMinor: '252:9' })).toEqual(['252:1', '252:9']);
    expect(origins([1], { freezeMode: 'explicit' })).toEqual([]);
    const { stack: _, ...elsewhere } = source.filesystem;
    expect(origins([], { majorMinor: '0:9', filesystem: { ...elsewhere, stack: undefined } })).toEqual([
      '252:1',
    ]);
  });
});

describe('a window in which we freeze', () => {
  it('has the devices below watched too; its time is that of our freeze', async () => {
    const report = await execute(aPlan('explicit'));
    expect(windowCalls()).toEqual(['sync /srv', 'arm', 'freeze /srv', 'create 1', 'thaw', 'close']);
    expect(report).toMatchObject({ exitCode: 0, sources: [{ frozenMs: 5, freezeCallMs: 1, thawMs: 1 }] });
    expect(world.guarded).toHaveLength(1);
  });

  it('is told once when filesystem and device were lost together', async () => {
    world.losses.push('timeout');
    world.deviceLosses.push('timeout');
    const report = await execute(aPlan('explicit', { attempts: 1 }));
    expect(report.error?.message).toMatch(/: \/srv \(timeout\)$/);
  });
});

describe('a window that needs no freeze', () => {
  it('is not watched', async () => {
    await execute(aPlan('atomic'));
    expect(world.log).not.toContain('arm');
  });
});
