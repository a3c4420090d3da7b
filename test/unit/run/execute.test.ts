import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JobConfig } from '../../../src/config/types.js';
import { ConnectionLostError } from '../../../src/copy/copy-error.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan } from '../../../src/plan/plan.js';
import type { RunReport } from '../../../src/report/run-report.js';
import { executePlan } from '../../../src/run/execute.js';
import { HangingSnapshotError } from '../../../src/snapshots/snapshot-tool.js';
import { failure, FakeWorld } from '../../support/fake-world.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';

let world: FakeWorld;
let directory: string;
let controller: AbortController;

beforeEach(async () => {
  world = new FakeWorld();
  controller = new AbortController();
  directory = await mkdtemp(path.join(os.tmpdir(), 'mnt-'));
});

afterEach(async () => {
  // Of every run, whatever became of it: something written while frozen, acquired without an intent, …
  if (world.violations.length > 0) throw new Error(world.violations.join('\n'));
  await rm(directory, { recursive: true });
});

const HOOKS = ['db', 'web'].map((name) => ({
  name,
  before: [`before ${name}`],
  after: [`after ${name}`],
  timeoutMs: 1000,
}));

const TARGETS = ['/b1', '/b2'].map((target) => ({
  path: target,
  engine: 'rsync' as const,
  mustBeMountpoint: false,
}));

/** Two filesystems at one instant, two applications, two targets. */
function aPlan(job: Partial<JobConfig> = {}): Plan {
  return makePlan(
    aJob({
      sources: [aSource(), aSource({ path: '/home' })],
      quiesce: HOOKS,
      targets: TARGETS,
      ...job,
    }),
    hostFacts({
      targets: [],
      sources: [
        sourceFacts(aFilesystem()),
        sourceFacts(aFilesystem({ majorMinor: '7:2', mountpoint: '/home', source: '/dev/loop2' })),
      ],
    }),
    fakeDetectors(),
    { force: false },
  );
}

async function execute(plan = aPlan()): Promise<RunReport> {
  return await executePlan(plan, world.dependencies(directory), {
    runId: 'run',
    startedAt: new Date('2026-11-23T18:45:00Z'),
    warnings: [],
    signal: controller.signal,
  });
}

async function expectNothingHeld(): Promise<void> {
  expect(world.held).toEqual([]);
  expect([...world.journal]).toEqual([]);
  expect(await readdir(directory)).toEqual([]);
}

describe('a run that goes well', () => {
  it('does everything in order, and releases in reverse', async () => {
    const report = await execute();
    expect(world.log).toEqual([
      'engine preflight',
      'target preflight /b1',
      'engine preflight',
      'target preflight /b2',
      'prepare',
      'sync /srv',
      'sync /home',
      'journal quiesce',
      'before db',
      'journal quiesce',
      'before web',
      'journal snapshot',
      'journal snapshot',
      'sync /srv',
      'sync /home',
      'arm',
      'freeze /srv /home',
      'create 2',
      'thaw',
      'close',
      'after web',
      'after db',
      'journal exposure',
      'expose',
      'journal exposure',
      'expose',
      'journal backup',
      'begin /b1',
      'copy /b1',
      'complete /b1',
      'journal backup',
      'begin /b2',
      'copy /b2',
      'complete /b2',
      'unexpose',
      'unexpose',
      'remove',
      'remove',
    ]);
    await expectNothingHeld();
    expect(report).toMatchObject({
      outcome: 'success',
      exitCode: 0,
      consistency: 'application',
      warnings: [],
      freeze: { timeoutSeconds: 10, heartbeatSeconds: 5, maxHoldSeconds: 60 },
      sources: [
        {
          mountpoint: '/srv',
          frozenMs: 5,
          freezeCallMs: 1,
          thawMs: 1,
          attempts: 1,
          snapshot: 'fsbackup-srv-run-0',
        },
        { mountpoint: '/home', frozenMs: 5, attempts: 1, snapshot: 'fsbackup-srv-run-1' },
      ],
      copies: [
        { target: '/b1', backupId: 'run', bytes: 10, files: 2 },
        { target: '/b2', backupId: 'run' },
      ],
    });
    const spans = report.sources.map(({ snapshotStartedAt, snapshotFinishedAt }) => [
      Date.parse(snapshotStartedAt ?? ''),
      Date.parse(snapshotFinishedAt ?? ''),
    ]);
    expect(spans[1]).toEqual(spans[0]);
    expect(spans[0]?.[0]).toBeLessThan(spans[0]?.[1] ?? 0);
    expect(report.error).toBeUndefined();
    expect(report.steps.filter(({ frozen }) => frozen).map(({ step }) => step)).toEqual([
      'freeze',
      'snapshot',
      'thaw',
    ]);
  });

  it('puts the report, as far as it has come, into each manifest', async () => {
    await execute();
    expect(world.backups.get('/b1')).toMatchObject({
      files: 2,
      bytes: 10,
      tools: { rsync: '3.2.7' },
      sources: ['/srv', '/home'],
      report: { outcome: 'success', copies: [{ target: '/b1' }] },
    });
    expect(world.backups.get('/b2')?.report.copies).toHaveLength(2);
  });

  it('tells what weakens the guarantee on this host, which is no fault of the run', async () => {
    world.freezerWarnings = ['not in a cgroup of its own'];
    expect(await execute()).toMatchObject({
      outcome: 'success',
      exitCode: 0,
      warnings: ['not in a cgroup of its own'],
    });
  });

  it('copies live where no snapshot is wanted', async () => {
    const report = await execute(aPlan({ sources: [aSource({ snapshot: 'none' })], quiesce: [] }));
    expect(world.log).not.toContain('arm');
    expect(report).toMatchObject({
      exitCode: 0,
      consistency: 'none',
      sources: [{ provider: 'none', frozenMs: null, snapshot: null, consistency: 'none' }],
    });
  });
});

describe('a run in which something fails leaves nothing behind', () => {
  const later = ['freeze /srv /home', 'copy /b1'];
  it.each([
    ['a snapshot cannot be prepared', 'prepare', 'snapshotFailed', 30, later],
    ['the journal cannot be written', 'journal snapshot', 'failed', 1, later],
    ['an application’s journal cannot be written', 'journal quiesce', 'failed', 1, ['before db', ...later]],
    ['the filesystem cannot be synced', 'sync /home', 'failed', 1, later],
    ['the dead-man cannot be armed', 'arm', 'failed', 1, later],
    ['a filesystem is frozen by another', 'freeze /srv /home', 'notFrozen', 20, ['create 2', 'copy /b1']],
    ['a snapshot is invalid', 'create 2', 'snapshotInvalid', 31, ['copy /b1']],
    ['a filesystem may still be frozen', 'thaw', 'thawFailed', 22, ['copy /b1']],
    ['a snapshot cannot be mounted', 'expose', 'snapshotFailed', 30, ['copy /b1']],
    ['the mount’s journal cannot be written', 'journal exposure', 'failed', 1, ['expose', 'copy /b1']],
  ] as const)('%s', async (_, call, code, exitCode, never) => {
    world.fail(call, failure(code));
    const report = await execute();
    await expectNothingHeld();
    expect(report).toMatchObject({
      exitCode,
      outcome: 'failed',
      error: { code, hint: 'Mend it.' },
      copies: [],
    });
    for (const other of never) expect(world.log).not.toContain(other);
    expect(world.backups.size).toBe(0);
  });

  it('an application cannot be brought to rest: the half-done one goes on too, nothing is frozen', async () => {
    world.fail('before web', new Error());
    const report = await execute();
    expect(world.log.slice(world.log.indexOf('before db'))).toEqual([
      'before db',
      'journal quiesce',
      'before web',
      'after web',
      'after db',
    ]);
    await expectNothingHeld();
    expect(report).toMatchObject({ exitCode: 1, error: { code: 'failed' } });
  });

  it('applications go on also when the freeze fails', async () => {
    world.fail('freeze /srv /home', failure('notFrozen'));
    await execute();
    expect(world.log).toContain('after db');
    await expectNothingHeld();
    // "thaw failed" would say that something may still be frozen.
    expect(world.steps).toContain('freeze failed');
    expect(world.steps).not.toContain('thaw failed');
  });

  it('no time is called frozen in which nothing was, and all is of a window whose snapshot failed', async () => {
    world.fail('freeze /srv /home', failure('notFrozen'));
    const refused = (await execute()).steps.filter(({ step }) =>
      ['freeze', 'snapshot', 'thaw'].includes(step),
    );
    expect(refused.map(({ step, frozen }) => [step, frozen])).toEqual([['freeze', false]]);
    world.fail('create 2', failure('snapshotFailed'));
    const failed = (await execute()).steps.filter(({ frozen }) => frozen);
    expect(failed.map(({ step }) => step).slice(0, 3)).toEqual(['freeze', 'snapshot', 'thaw']);
  });

  it('anything else is a bug', async () => {
    world.fail('expose', new TypeError('x is undefined'));
    expect(await execute()).toMatchObject({ exitCode: 70, error: { code: 'bug' } });
    await expectNothingHeld();
  });
});

describe('a target that no backup can be made in', () => {
  it.each(['engine preflight', 'target preflight /b1'])(
    'at its %s leaves the others theirs',
    async (call) => {
      world.fail(call, failure('usage'));
      const report = await execute();
      await expectNothingHeld();
      expect(report).toMatchObject({
        exitCode: 2,
        outcome: 'failed',
        error: { code: 'usage' },
        copies: [{ target: '/b2' }],
        failedCopies: [{ target: '/b1', engine: 'rsync', error: { code: 'usage', hint: 'Mend it.' } }],
      });
      expect(world.log).not.toContain('begin /b1');
      expect(report.copies).toHaveLength(1);
    },
  );

  it('is one of several: each is told of, and nothing is frozen when there is no other', async () => {
    world.fail('target preflight /b1', failure('usage'));
    world.fail('target preflight /b2', failure('usage'));
    const report = await execute();
    await expectNothingHeld();
    expect(report).toMatchObject({ exitCode: 2, error: { code: 'usage' }, copies: [] });
    expect(report.failedCopies?.map(({ target }) => target)).toEqual(['/b1', '/b2']);
    for (const never of ['freeze /srv /home', 'copy /b1', 'copy /b2']) expect(world.log).not.toContain(never);
  });

  it('does not hide that the others have none either, for a freeze that was lost', async () => {
    world.fail('target preflight /b1', failure('usage'));
    world.losses.push('third-party');
    expect(await execute(aPlan({ attempts: 1 }))).toMatchObject({
      exitCode: 21,
      error: { code: 'freezeLost' },
      failedCopies: [{ target: '/b1' }],
      copies: [],
    });
  });

  it('does not hide that a backup lacks what could not be read', async () => {
    world.fail('target preflight /b1', failure('usage'));
    world.engine.copy = async () => ({ bytes: 0, files: 0, unreadable: ['/a'] });
    const report = await execute();
    expect(report).toMatchObject({ exitCode: 41, outcome: 'failed', error: { code: 'copyPartial' } });
    expect(report.failedCopies).toHaveLength(1);
    expect(report.otherErrors).toBeUndefined();
  });
});

it('tells every error, once', async () => {
  world.fail('target preflight /b1', failure('copyFailed'));
  world.engine.copy = async () => ({ bytes: 0, files: 0, unreadable: ['/a'] });
  const targets = [...TARGETS, { path: '/b3', engine: 'rsync' as const, mustBeMountpoint: false }];
  const report = await execute(aPlan({ targets }));
  expect(report).toMatchObject({ exitCode: 40, error: { code: 'copyFailed' } });
  expect(report.failedCopies).toHaveLength(1);
  expect(report.otherErrors?.map(({ message }) => message)).toEqual([
    'the backup in /b2 lacks what could not be read: /a',
    'the backup in /b3 lacks what could not be read: /a',
  ]);
});

it('lets the applications go before it removes what a last try may have made', async () => {
  world.fail('create 2', failure('snapshotFailed'));
  expect(await execute(aPlan({ attempts: 1 }))).toMatchObject({ exitCode: 30 });
  expect(world.log.indexOf('after db')).toBeLessThan(world.log.indexOf('remove'));
  await expectNothingHeld();
});

describe('a sync that hangs', () => {
  const hangs = (): Promise<void> => new Promise(() => undefined);
  const done = (): Promise<void> => Promise.resolve();

  it('keeps no application at rest for longer than a freeze may be held: exit 20, nothing frozen', async () => {
    world.fail('sync /home', done, hangs);
    const report = await execute(aPlan({ freeze: { timeoutMs: 10_000, maxHoldMs: 100 } }));
    expect(report).toMatchObject({ exitCode: 20, error: { code: 'notFrozen' } });
    expect(report.error?.message).toContain('/home');
    expect(world.log.slice(-4)).toEqual(['after web', 'after db', 'remove', 'remove']);
    for (const never of ['arm', 'create 2']) expect(world.log).not.toContain(never);
    await expectNothingHeld();
  });

  it('stops nobody before the applications are, and hears an interrupt', async () => {
    world.fail('sync /srv', hangs);
    const running = execute();
    setTimeout(() => controller.abort(failure('interrupted')), 50);
    expect(await running).toMatchObject({ exitCode: 130 });
    expect(world.log).not.toContain('before db');
    await expectNothingHeld();
  });
});

it('gives a snapshot that hangs no other try: the applications wait', async () => {
  world.fail('create 2', new HangingSnapshotError('it hangs', 'Thaw it.'));
  expect(await execute()).toMatchObject({ exitCode: 30, sources: [{ attempts: 1 }, { attempts: 1 }] });
  await expectNothingHeld();
});

describe('a filesystem that somebody holds frozen', () => {
  it.each([
    ['held /srv', 'locked', 11],
    ['answer /home', 'notFrozen', 20],
  ] as const)('is found before an application is stopped: %s', async (call, code, exitCode) => {
    world.fail(call, failure(code));
    expect(await execute(aPlan({ attempts: 1 }))).toMatchObject({ exitCode, error: { code } });
    for (const never of ['prepare', 'before db']) expect(world.log).not.toContain(never);
  });

  it('that is to be frozen, and looks so, is told by a freeze for an instant', async () => {
    world.looks = true;
    world.fail('probe /srv', failure('notFrozen'));
    expect(await execute()).toMatchObject({ exitCode: 20 });
    expect(world.log).not.toContain('before db');
    await expectNothingHeld();
  });

  it('as a target leaves the others theirs', async () => {
    world.fail('answer /b1', failure('notFrozen'));
    expect(await execute()).toMatchObject({
      exitCode: 20,
      copies: [{ target: '/b2' }],
      failedCopies: [{ target: '/b1' }],
    });
    expect(world.log).not.toContain('target preflight /b1');
  });
});

describe('a freeze that was lost', () => {
  it('is tried again with snapshots of other names, and the first ones removed before', async () => {
    world.losses.push('third-party');
    const report = await execute();
    expect(report).toMatchObject({
      exitCode: 0,
      sources: [
        { attempts: 2, snapshot: 'fsbackup-srv-run-0-try2' },
        { attempts: 2, snapshot: 'fsbackup-srv-run-1-try2' },
      ],
    });
    // The writers waited for it all the same.
    expect(report.warnings).toEqual([
      '/srv was frozen for 5 ms by a try that failed',
      '/home was frozen for 5 ms by a try that failed',
    ]);
    const second = world.log.lastIndexOf('freeze /srv /home');
    expect(world.log.slice(0, second).filter((call) => call === 'remove')).toHaveLength(2);
    await expectNothingHeld();
  });

  it('every time is never called a success', async () => {
    world.losses.push('timeout', 'timeout', 'timeout');
    const report = await execute();
    expect(report).toMatchObject({
      exitCode: 21,
      outcome: 'failed',
      consistency: 'none',
      error: { code: 'freezeLost', message: expect.stringContaining('/srv (timeout)') as string },
      sources: [
        { attempts: 3, snapshot: null, frozenMs: 5, instant: null },
        { attempts: 3, frozenMs: 5 },
      ],
    });
    expect(report.warnings.filter((warning) => warning.endsWith('by a try that failed'))).toHaveLength(2);
    expect(world.log.filter((call) => call.startsWith('freeze'))).toHaveLength(3);
    expect(world.backups.size).toBe(0);
    await expectNothingHeld();
  });

  it('is not tried again when the plan says once', async () => {
    world.losses.push('timeout');
    expect(await execute(aPlan({ attempts: 1 }))).toMatchObject({ exitCode: 21 });
    expect(world.log.filter((call) => call === 'arm')).toHaveLength(1);
  });

  it('outranks the failure of the snapshot command that it caused', async () => {
    world.losses.push('timeout');
    world.fail('create 2', failure('snapshotFailed'));
    expect(await execute(aPlan({ attempts: 1 }))).toMatchObject({ error: { code: 'freezeLost' } });
    await expectNothingHeld();
  });

  it('while a snapshot hangs is thawed without waiting for that', async () => {
    // Hangs until the thaw, as what is blocked by the freeze does.
    world.fail(
      'create 2',
      () =>
        new Promise<void>((resolve) => {
          const poll = setInterval(() => {
            if (!world.log.includes('thaw')) return;
            clearInterval(poll);
            resolve();
          }, 1);
        }),
    );
    world.losses.push('timeout');
    const report = await execute(aPlan({ attempts: 1 }));
    expect(report).toMatchObject({ exitCode: 21 });
    await expectNothingHeld();
  });
});

describe('what is tried again', () => {
  it('is a snapshot that was busy', async () => {
    world.fail('create 2', failure('snapshotFailed', 'busy'));
    expect(await execute()).toMatchObject({ exitCode: 0, sources: [{ attempts: 2 }, { attempts: 2 }] });
    await expectNothingHeld();
  });

  it('is a copy that lost its connection, into the same place', async () => {
    world.fail(
      'copy /b1',
      new ConnectionLostError('lost', { hint: 'x' }),
      new ConnectionLostError('lost', { hint: 'x' }),
    );
    expect(await execute()).toMatchObject({ exitCode: 0 });
    expect(world.log.filter((call) => call === 'copy /b1')).toHaveLength(3);
    expect(world.log.filter((call) => call === 'begin /b1')).toHaveLength(1);
  });

  it('is no other failure of a copy', async () => {
    world.fail('copy /b1', failure('copyFailed'));
    await execute();
    expect(world.log.filter((call) => call === 'copy /b1')).toHaveLength(1);
  });
});

describe('a target that fails', () => {
  it.each(['begin /b1', 'copy /b1', 'complete /b1', 'journal backup'])(
    'at "%s" does not keep the other from its backup',
    async (call) => {
      world.fail(call, failure('copyFailed'));
      const report = await execute();
      expect(report).toMatchObject({
        exitCode: 40,
        outcome: 'failed',
        error: { code: 'copyFailed' },
        copies: [{ target: '/b2' }],
        failedCopies: [{ target: '/b1', engine: 'rsync', error: { code: 'copyFailed' } }],
      });
      expect([...world.backups.keys()]).toEqual(['/b2']);
      // Retention goes by it: this backup is as good as it would be alone.
      expect(world.backups.get('/b2')?.report).toMatchObject({ outcome: 'success', exitCode: 0 });
      expect(world.backups.get('/b2')?.report.failedCopies).toHaveLength(1);
      expect(world.backups.get('/b2')?.report.error).toBeUndefined();
      await expectNothingHeld();
    },
  );

  it('and cannot even be tidied up by its engine is a failed copy', async () => {
    world.fail('copy /b1', failure('cleanupIncomplete', 'data/parents could not be removed'));
    expect(await execute()).toMatchObject({
      exitCode: 40,
      error: { code: 'copyFailed', message: 'data/parents could not be removed' },
      copies: [{ target: '/b2' }],
    });
    await expectNothingHeld();
  });

  it('for good is a failed copy, and what it holds of it is left to the journal', async () => {
    world.fail('copy /b1', failure('copyFailed'));
    world.fail('discard /b1', new Error('EIO'), new Error('EIO'));
    const report = await execute();
    expect(report).toMatchObject({
      exitCode: 40,
      error: { code: 'copyFailed' },
      copies: [{ target: '/b2' }],
    });
    expect(report.warnings).toEqual([
      expect.stringContaining('what was begun in /b1 is not removed yet: EIO'),
    ]);
    expect([...world.journal]).toEqual([expect.stringContaining('backup')]);
  });

  it('in part is told with the files, and kept', async () => {
    world.engine.copy = async () => ({
      bytes: 1,
      files: 1,
      unreadable: ['/srv/a', '/srv/b', '/srv/c', '/srv/d'],
    });
    const report = await execute(
      aPlan({ targets: [{ path: '/b1', engine: 'rsync', mustBeMountpoint: false }] }),
    );
    expect(report).toMatchObject({ exitCode: 41, outcome: 'warnings', copies: [{ target: '/b1' }] });
    expect(report.error?.message).toContain('/srv/a, /srv/b, /srv/c, and 1 more');
    expect(world.backups.get('/b1')?.unreadable).toHaveLength(4);
  });
});

describe('a snapshot that is lost while it is copied', () => {
  const discarded = {
    exitCode: 31,
    outcome: 'failed',
    error: { code: 'snapshotInvalid', hint: 'Mend it.' },
    copies: [],
  };

  it('ends the copy that is going on, which is discarded, and begins no other', async () => {
    world.engine.copy = async ({ dataDirectory, signal }) => {
      world.log.push(`copy ${dataDirectory}`);
      world.fail('checkIntact', failure('snapshotInvalid'));
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve, { once: true });
      });
      throw failure('copyFailed', 'rsync was stopped');
    };
    expect(await execute()).toMatchObject(discarded);
    expect(world.log).not.toContain('copy /b2');
    expect(world.backups.size).toBe(0);
    await expectNothingHeld();
  });

  it('is that, and no failure of mount(8), where it was lost before it could be shown', async () => {
    world.fail('expose', failure('snapshotFailed', 'mount ended with exit code 32'));
    world.fail('checkIntact', failure('snapshotInvalid'));
    expect(await execute()).toMatchObject(discarded);
    expect(world.log).not.toContain('copy /b1');
    await expectNothingHeld();
  });

  it('makes no backup of a copy that read it without an error', async () => {
    world.engine.copy = async () => {
      // Too late for the watch: what is asked after the copy finds it.
      world.fail('checkIntact', failure('snapshotInvalid'), failure('snapshotInvalid'));
      return { bytes: 10, files: 2, unreadable: [] };
    };
    expect(await execute()).toMatchObject(discarded);
    expect(world.log).not.toContain('complete /b1');
    expect(world.log).not.toContain('begin /b2');
    expect(world.backups.size).toBe(0);
    await expectNothingHeld();
  });
});

describe('what was prepared', () => {
  it('is given up at the end of a run that never came to it', async () => {
    const abandoned: string[] = [];
    world.provider.abandon = async ({ name }) => void abandoned.push(name);
    world.fail('before db', new Error('it does not stop'));
    expect(await execute()).toMatchObject({ outcome: 'failed' });
    expect(abandoned).toEqual(['fsbackup-srv-run-0', 'fsbackup-srv-run-1']);
  });
});

describe('what lies below a tree', () => {
  const madeMeanwhile = { kind: 'subvolume', path: '/srv/new', fstype: 'btrfs' } as const;

  it('is warned of when it was made after the plan', async () => {
    world.fail('before db', () => void world.below.set('/srv', [madeMeanwhile]));
    const report = await execute();
    expect(report).toMatchObject({
      exitCode: 3,
      leftOut: ['/srv/new'],
      warnings: ['the subvolume /srv/new is not in the backup: it was not there yet when the run began'],
    });
    expect(world.backups.get('/b1')).toMatchObject({ report: { warnings: report.warnings } });
  });

  it('is known when the plan has seen it, or looks at a filesystem that holds the tree', async () => {
    world.below.set('/srv', [madeMeanwhile]);
    expect(await execute({ ...aPlan(), nested: ['/srv/new'] })).toMatchObject({ exitCode: 0 });
  });

  it('is no reason to do without a backup where it cannot be looked at', async () => {
    world.lookBelow = () => Promise.reject(failure('snapshotFailed', 'btrfs failed'));
    const report = await execute();
    expect(report).toMatchObject({ exitCode: 3, copies: [{ target: '/b1' }, { target: '/b2' }] });
    expect(report.warnings[0]).toBe(
      'whether something was made below /srv during the run cannot be told: btrfs failed',
    );
  });
});

describe('a tree whose mount is taken away', () => {
  const lost = { exitCode: 31, error: { code: 'snapshotInvalid' }, copies: [] };

  it.each([
    ['unmounted', undefined],
    ['mounted over', 'another'],
  ])('makes no backup of it: %s', async (_, mount) => {
    world.engine.copy = async () => {
      world.shown = () => mount;
      return { bytes: 0, files: 0, unreadable: [] };
    };
    expect(await execute()).toMatchObject(lost);
    expect(world.log).not.toContain('complete /b1');
    expect(world.log).not.toContain('begin /b2');
    await expectNothingHeld();
  });

  it('makes none for the second target when that happened between the two, and removes none for it', async () => {
    world.engine.copy = async ({ dataDirectory }) => {
      if (dataDirectory === '/b2') world.shown = (shown) => (shown.endsWith('/0') ? undefined : 'as it was');
      return { bytes: 0, files: 0, unreadable: [] };
    };
    const plan = aPlan({ targets: TARGETS.map((target) => ({ ...target, keep: { last: 1 } })) });
    expect(await execute(plan)).toMatchObject({ ...lost, copies: [{ target: '/b1' }] });
    expect([...world.backups.keys()]).toEqual(['/b1']);
    expect(world.log).not.toContain('retain /b2');
    await expectNothingHeld();
  });

  it('copies none that is read live, and was unmounted while the applications stopped', async () => {
    world.fail('before db', () => {
      world.shown = () => 'the filesystem below';
    });
    expect(await execute(aPlan({ sources: [aSource({ snapshot: 'none' })] }))).toMatchObject(lost);
    expect(world.backups.size).toBe(0);
    await expectNothingHeld();
  });

  it('stops no application for one that is not there before', async () => {
    world.shown = () => undefined;
    const report = await execute(aPlan({ sources: [aSource({ snapshot: 'none' })] }));
    expect(report).toMatchObject({ exitCode: 30, error: { message: '/srv is not there to be read' } });
    expect(world.log).not.toContain('before db');
  });
});

describe('a release that fails', () => {
  it('turns a success into exit 60, names what is held, and keeps its journal entry', async () => {
    world.fail('unexpose', new Error('busy'));
    const report = await execute();
    expect(report).toMatchObject({
      exitCode: 60,
      error: { code: 'cleanupIncomplete', hint: expect.stringContaining('recover') as string },
    });
    // The snapshot stays with its mount: it must not be removed below it. The other is released all the same.
    expect(report.warnings).toEqual([
      expect.stringContaining('still held: the mount'),
      expect.stringContaining('still held: the snapshot fsbackup-srv-run-1: the mount'),
    ]);
    expect(world.held).toEqual(['snapshot fsbackup-srv-run-1', 'exposure fsbackup-srv-run-1']);
    expect([...world.journal]).toEqual(['snapshot fsbackup-srv-run-1', 'exposure fsbackup-srv-run-1']);
  });

  it('is the error that the exit code is of, and hides no other', async () => {
    world.fail('copy /b1', failure('copyFailed'));
    world.fail('remove', new Error('busy'));
    expect(await execute()).toMatchObject({
      exitCode: 60,
      error: { code: 'cleanupIncomplete' },
      failedCopies: [{ target: '/b1', error: { code: 'copyFailed' } }],
    });
  });

  it('of an application is tried again before the copy begins, and told', async () => {
    world.fail('after db', new Error(), new Error());
    const report = await execute();
    expect(world.log.filter((call) => ['after db', 'expose', 'copy /b1'].includes(call)).slice(0, 5)).toEqual(
      ['after db', 'after db', 'after db', 'expose', 'expose'],
    );
    expect(report).toMatchObject({ exitCode: 3, outcome: 'warnings' });
    expect(report.warnings).toEqual([
      expect.stringMatching(/^the application db could not be let go: .*exit code 1/) as string,
      expect.stringMatching(/^the application db was let go .* after that$/) as string,
    ]);
    await expectNothingHeld();
  });

  it('of an application is a warning of the backup, which is called no better than its snapshot', async () => {
    world.fail('after db', new Error());
    expect(await execute()).toMatchObject({ consistency: 'filesystem' });
    const { report } = world.backups.values().next().value ?? {};
    expect(report).toMatchObject({ exitCode: 3, consistency: 'filesystem' });
    expect(report?.warnings[0]).toContain('db could not be let go');
  });

  it('waits for no journal, and is not done again for it', async () => {
    world.fail('forget quiesce web', new Error('EIO'));
    const report = await execute();
    expect(world.log.filter((call) => /^(?:after|forget) /.test(call))).toEqual([
      'after web',
      'after db',
      'forget quiesce web',
    ]);
    expect(report).toMatchObject({ exitCode: 3, consistency: 'application' });
    expect(report.warnings).toEqual(['the application web goes on, and stays in the journal: EIO']);
    expect([...world.journal]).toEqual(['quiesce web']);
  });

  it('of what was never brought to rest says nothing against the others', async () => {
    world.fail('after late', new Error());
    const late = { name: 'late', before: [], after: ['after late'], timeoutMs: 1000 };
    expect(await execute(aPlan({ quiesce: [...HOOKS, late] }))).toMatchObject({
      exitCode: 3,
      consistency: 'application',
    });
  });

  it('of an application that fails until the copy begins is tried once more at the end', async () => {
    world.fail('after db', ...Array.from({ length: 4 }, () => new Error()));
    const report = await execute();
    expect(world.log.filter((call) => ['after db', 'copy /b1'].includes(call))).toEqual([
      ...Array.from({ length: 4 }, () => 'after db'),
      'copy /b1',
      'after db',
    ]);
    expect(report).toMatchObject({ exitCode: 3 });
    await expectNothingHeld();
  });

  it('of an application exits 60 with what to do', async () => {
    world.fail('after db', ...Array.from({ length: 5 }, () => new Error()));
    const report = await execute();
    expect(report).toMatchObject({ exitCode: 60, error: { code: 'cleanupIncomplete' } });
    expect(world.held).toEqual(['quiesce db']);
    expect([...world.journal]).toEqual(['quiesce db']);
  });
});

describe('what an application’s command leaves running in the unit of the run', () => {
  const program = (pid: number, name: string, startTime = 1) => ({ pid, name, startTime });

  it('is warned of: it ends with the run', async () => {
    world.unitPrograms = [program(5, 'holder')];
    world.fail('after db', () => {
      world.unitPrograms = [program(5, 'holder'), program(7, 'postgres'), program(8, 'writer')];
    });
    const report = await execute();
    expect(report).toMatchObject({ exitCode: 3, consistency: 'application' });
    expect(report.warnings).toEqual([
      expect.stringMatching(/`after` of db left running .*: postgres \(pid 7\), writer \(pid 8\);/) as string,
    ]);
  });

  it('is no matter once it has ended, nor by hand', async () => {
    world.unitPrograms = [];
    world.fail('after db', () => {
      world.unitPrograms = [program(7, 'sync')];
    });
    world.fail('copy /b1', () => {
      world.unitPrograms = [program(7, 'another', 9)];
    });
    expect(await execute()).toMatchObject({ exitCode: 0, warnings: [] });
    world.unitPrograms = undefined;
    expect(await execute()).toMatchObject({ exitCode: 0, warnings: [] });
  });
});

describe('an interrupt', () => {
  it.each([
    'engine preflight',
    'prepare',
    'before db',
    'journal snapshot',
    'sync /srv',
    'arm',
    'freeze /srv /home',
    'create 2',
    'thaw',
    'after web',
    'expose',
    'begin /b1',
    'copy /b1',
  ])('at "%s" releases everything and exits 130', async (call) => {
    world.fail(call, () => controller.abort(failure('interrupted', 'interrupted by INT')));
    const report = await execute();
    await expectNothingHeld();
    expect(report).toMatchObject({ exitCode: 130, outcome: 'interrupted', error: { code: 'interrupted' } });
    expect(world.log).not.toContain('begin /b2');
    const wasFrozen = world.log.some((one) => one.startsWith('freeze'));
    expect(world.log.includes('thaw')).toBe(wasFrozen);
  });

  it('that finds the copy in the middle is no failure of the copy', async () => {
    world.fail('copy /b1', () => {
      controller.abort(failure('interrupted', 'interrupted by INT'));
      throw failure('copyFailed', 'rsync was ended');
    });
    expect(await execute()).toMatchObject({ exitCode: 130, error: { message: 'interrupted by INT' } });
    expect(world.log).toContain('discard /b1');
    await expectNothingHeld();
  });

  it('with a release that fails exits 60: not all was released', async () => {
    world.fail('copy /b1', () => controller.abort(failure('interrupted')));
    world.fail('unexpose', new Error('busy'));
    expect(await execute()).toMatchObject({
      exitCode: 60,
      outcome: 'failed',
      error: { code: 'cleanupIncomplete', exitCode: 60 },
      otherErrors: [{ code: 'interrupted' }],
    });
  });
});

describe('an origin in doubt', () => {
  /** As planned, each filesystem one that must be looked at. */
  function doubtful(): Plan {
    const plan = aPlan();
    return { ...plan, sources: plan.sources.map((source) => ({ ...source, proveOrigin: true })) };
  }

  it('is frozen and thawed once more when all is released', async () => {
    const report = await execute(doubtful());
    expect(report.exitCode).toBe(0);
    expect(world.log.slice(-6)).toEqual(['arm', 'probe /srv', 'close', 'arm', 'probe /home', 'close']);
    expect(world.log.lastIndexOf('remove')).toBeLessThan(world.log.indexOf('probe /srv'));
    await expectNothingHeld();
  });

  it('that cannot be frozen is a warning', async () => {
    world.fail('probe /srv', failure('notFrozen', 'somebody holds it'));
    const report = await execute(doubtful());
    expect(report.exitCode).toBe(3);
    expect(report.warnings).toEqual([expect.stringMatching(/^\/srv could not be frozen.*somebody holds it/)]);
    await expectNothingHeld();
  });

  it('that may still be frozen is exit 22', async () => {
    world.fail('probe /srv', failure('thawFailed'));
    expect((await execute(doubtful())).exitCode).toBe(22);
  });

  it('is left alone when no snapshot was begun', async () => {
    world.fail('prepare', failure('snapshotFailed'));
    await execute(doubtful());
    expect(world.log).not.toContain('arm');
  });
});

describe('what can be done before the freeze', () => {
  it('is done once the journal knows of it, and removed after a failure', async () => {
    const { provider } = world;
    provider.makeReady = async (refs) => {
      expect(refs.map(({ name }) => world.journal.has(`snapshot ${name}`))).toEqual([true, true]);
      expect(world.log).not.toContain('arm');
      throw failure('snapshotFailed');
    };
    const report = await execute(aPlan({ attempts: 1 }));
    expect(report.exitCode).toBe(30);
    expect(world.log.filter((call) => call === 'remove')).toHaveLength(2);
    await expectNothingHeld();
  });
});
