import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JobConfig } from '../../../src/config/types.js';
import {
  jobLockName,
  targetLockName,
  tryAcquireLock,
  type LockDependencies,
} from '../../../src/journal/lock.js';
import type { RecoverReport } from '../../../src/journal/recover-report.js';
import type { RunReport } from '../../../src/report/run-report.js';
import { runJob, runJobs, type RunHost } from '../../../src/run/run-job.js';
import { tryLock } from '../../../src/system/native.js';
import { failure, FakeWorld } from '../../support/fake-world.js';
import { aJob, fakeDetectors, hostFacts } from '../../support/plan-facts.js';

let directory: string;
let world: FakeWorld;
let recorded: RunReport[];
let controller: AbortController;

const NOTHING: RecoverReport = { version: 1, released: [], failed: [], leftAlone: [], unreadable: [] };

function locks(runId: string): LockDependencies {
  return {
    tryLock,
    directories: [path.join(directory, 'locks')],
    holder: { pid: process.pid, startTime: 1, runId, command: 'run srv' },
  };
}

function host(overrides: Partial<RunHost> = {}): RunHost {
  let runs = 0;
  const execution = world.dependencies(directory);
  return {
    detectors: fakeDetectors(),
    gatherFacts: async () => hostFacts(),
    locks,
    recover: async () => NOTHING,
    openJournal: () => execution.journal,
    mountDirectory: (job) => path.join(directory, 'mnt', job),
    recordRun: async (report) => {
      recorded.push(report);
    },
    rememberMounts: async () => undefined,
    makeRunId: () => `run-${(runs += 1)}`,
    now: () => 0,
    execution,
    ...overrides,
  };
}

function options() {
  return { force: false, lockWaitMs: 0, reporter: world.reporter, signal: controller.signal };
}

async function run(job: Partial<JobConfig> = {}, overrides: Partial<RunHost> = {}): Promise<RunReport> {
  return await runJob(aJob(job), host(overrides), options());
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'run-job-'));
  world = new FakeWorld();
  recorded = [];
  controller = new AbortController();
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe('runJob', () => {
  it('locks, recovers, plans, executes, records', async () => {
    const report = await run();
    expect(report).toMatchObject({ exitCode: 0, job: 'srv', runId: 'run-1' });
    expect(report.steps.slice(0, 3).map(({ step }) => step)).toEqual(['lock', 'recover', 'plan']);
    expect(recorded).toEqual([report]);
  });

  it.each([
    ['its job', jobLockName('srv')],
    ['its target', targetLockName('/backup')],
  ])('is locked out by a run that holds %s: exit 11, nothing done, nothing recorded', async (_, name) => {
    const other = await tryAcquireLock(name, locks('other'));
    const report = await run();
    expect(report).toMatchObject({ exitCode: 11, outcome: 'failed', error: { code: 'locked' } });
    expect(report.error?.message).toContain(`process ${process.pid} (run srv)`);
    expect(world.log).toEqual([]);
    expect(recorded).toEqual([]);
    await other?.release();
    expect(await run()).toMatchObject({ exitCode: 0 });
  });

  it('is locked out by a freeze of ours: nothing recorded either, but where another target has its backup', async () => {
    const held = failure('locked', '/srv is held frozen already');
    world.fail('held /srv', held);
    expect(await run({ attempts: 1 })).toMatchObject({ exitCode: 11 });
    expect(recorded).toEqual([]);
    const targets = ['/backup', '/other'].map((target) => ({
      path: target,
      engine: 'rsync' as const,
      mustBeMountpoint: false,
    }));
    world.fail('target preflight /backup', held);
    const report = await run({ targets });
    expect(report).toMatchObject({ exitCode: 11, copies: [{ target: '/other' }] });
    expect(recorded).toEqual([report]);
  });

  it('releases its locks, also after a failure', async () => {
    await run({}, { gatherFacts: () => Promise.reject(failure('usage', '/srv does not exist')) });
    for (const name of [jobLockName('srv'), targetLockName('/backup')]) {
      const lock = await tryAcquireLock(name, locks('later'));
      expect(lock).toBeDefined();
      await lock?.release();
    }
  });

  it('reports and records a job that cannot be planned', async () => {
    const report = await run(
      {},
      { gatherFacts: () => Promise.reject(failure('usage', '/srv does not exist')) },
    );
    expect(report).toMatchObject({
      exitCode: 2,
      consistency: 'none',
      sources: [],
      error: { code: 'usage', message: '/srv does not exist', hint: 'Mend it.' },
    });
    expect(report.steps.map(({ step }) => step)).toEqual(['lock', 'recover', 'plan']);
    expect(recorded).toEqual([report]);
  });

  it('refuses to freeze what it needs itself, unless forced', async () => {
    const facts = hostFacts({ inUse: [{ what: 'the root filesystem', majorMinor: '7:1' }] });
    const overrides = { gatherFacts: async () => facts };
    expect(await run({}, overrides)).toMatchObject({ exitCode: 20, error: { code: 'notFrozen' } });
    expect(world.log).toEqual([]);
    expect(await runJob(aJob(), host(overrides), { ...options(), force: true })).toMatchObject({
      exitCode: 3,
    });
  });

  it('warns of what a dead run still holds, and does its own work', async () => {
    const failed = [{ kind: 'snapshot', what: 'snapshot x', job: 'a', runId: 'r', message: 'busy' }] as const;
    const unreadable = [{ file: '/j/x.json', reason: 'it is not JSON' }];
    const report = await run({}, { recover: async () => ({ ...NOTHING, failed: [...failed], unreadable }) });
    expect(report.exitCode).toBe(3);
    // Of the backup that it made it says nothing.
    const made = [...world.backups.values()].map((facts) => facts.report);
    expect(made).toMatchObject([{ outcome: 'success', exitCode: 0, warnings: [] }]);
    expect(report.warnings).toEqual([
      'of an earlier run there is still held: snapshot x: busy',
      'the journal file /j/x.json cannot be read: it is not JSON',
    ]);
    expect(report.copies).toHaveLength(1);
  });

  it('lets recover have its own job, and others that are not running', async () => {
    const busy = await tryAcquireLock(jobLockName('busy'), locks('other'));
    const answers: Record<string, boolean> = {};
    await run(
      {},
      {
        recover: async (lockJob) => {
          for (const job of ['srv', 'busy', 'dead']) {
            const lock = await lockJob(job);
            answers[job] = lock !== undefined;
            await lock?.release();
          }
          return NOTHING;
        },
      },
    );
    expect(answers).toEqual({ srv: true, busy: false, dead: true });
    await busy?.release();
  });

  it('is a backup also when the history cannot be written, and says that it is not there', async () => {
    const full = { recordRun: () => Promise.reject(new Error('disk full')) };
    const warnings = ['the run is not in the history: disk full'];
    expect(await run({}, full)).toMatchObject({ exitCode: 3, outcome: 'warnings', warnings });
    world.fail('copy /backup', failure('copyFailed'));
    expect(await run({}, full)).toMatchObject({ exitCode: 40, outcome: 'failed', warnings });
  });
});

describe('runJobs', () => {
  it('goes on past a failure, in the order given', async () => {
    const calls: string[] = [];
    const reports = await runJobs(
      ['a', 'b'].map((name) => aJob({ name })),
      host({
        gatherFacts: async ({ name }) => {
          calls.push(name);
          if (name === 'a') throw failure('usage');
          return hostFacts();
        },
      }),
      options(),
    );
    expect(calls).toEqual(['a', 'b']);
    expect(reports.map(({ exitCode }) => exitCode)).toEqual([2, 0]);
  });

  it('begins no further job after an interrupt', async () => {
    world.fail('copy /backup', () => controller.abort(failure('interrupted')));
    const reports = await runJobs(
      ['a', 'b'].map((name) => aJob({ name })),
      host(),
      options(),
    );
    expect(reports).toMatchObject([{ job: 'a', exitCode: 130 }]);
  });
});
