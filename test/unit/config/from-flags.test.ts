import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type FlagContext, freezeFromFlags, resetTimeoutMs } from '../../../src/config/freeze-from-flags.js';
import { jobFromFlags } from '../../../src/config/from-flags.js';

const HOST: FlagContext = { env: {}, hungTaskTimeoutMs: 120_000 };
const FLAGS = { job: 'srv', source: ['/srv'], to: ['/backup'] };

describe('jobFromFlags', () => {
  it('makes a job with the defaults of a file', () => {
    expect(jobFromFlags(FLAGS, HOST)).toEqual({
      name: 'srv',
      sources: [{ path: '/srv', snapshot: 'auto', freezeMode: 'auto', exclude: [], recursive: false }],
      targets: [{ path: '/backup', engine: 'rsync', mustBeMountpoint: false }],
      quiesce: [],
      freeze: { timeoutMs: 10_000, maxHoldMs: 60_000 },
      attempts: 3,
    });
  });

  it('takes relative paths from the working directory, and every flag', () => {
    const flags = {
      ...FLAGS,
      source: ['data', '../home/'],
      engine: 'tar',
      exclude: ['*.tmp'],
      snapshot: 'none',
      recursive: true,
      timeoutMs: 5000,
      attempts: 1,
      cwd: '/srv/web',
    };
    expect(jobFromFlags(flags, { ...HOST, env: { FSBACKUP_TIMEOUT: '7', FSBACKUP_ATTEMPTS: '9' } })).toEqual({
      name: 'srv',
      sources: ['/srv/web/data', '/srv/home'].map((path) => ({
        path,
        snapshot: 'none',
        freezeMode: 'auto',
        exclude: ['*.tmp'],
        recursive: true,
      })),
      targets: [{ path: '/backup', engine: 'tar', mustBeMountpoint: false }],
      quiesce: [],
      freeze: { timeoutMs: 5000, maxHoldMs: 60_000 },
      attempts: 1,
    });
  });

  it('takes an address of another host for a place to rsync to, and of no other engine', () => {
    const to = ['root@host:/srv/backups'];
    const [target] = jobFromFlags({ ...FLAGS, to, initialise: true }, HOST).targets;
    expect(target?.repository).toEqual({ repository: to[0], initialise: true, environment: {} });
    expect(target?.path).toMatch(/\/catalogue\/rsync-root-host-srv-backups-[0-9a-f]{8}$/);
    const [plain] = jobFromFlags({ ...FLAGS, to, engine: 'image', cwd: '/x' }, HOST).targets;
    expect(plain).toMatchObject({ path: '/x/root@host:/srv/backups' });
  });

  it.each([
    ['tank/x', { repository: { repository: 'tank/x' } }],
    ['ssh://host/tank/x', { repository: { repository: 'ssh://host/tank/x' } }],
    ['./tank/x', { path: '/cwd/tank/x' }],
    ['..', { path: '/' }],
    ['/tank/x', { path: '/tank/x' }],
  ])('takes %s for a dataset unless it is written as a path', (to, target) => {
    const flags = { ...FLAGS, engine: 'zfs-send', to: [to], cwd: '/cwd' };
    expect(jobFromFlags(flags, HOST).targets).toMatchObject([target]);
  });

  it('tells several problems of flags on a line each', () => {
    const twice = { ...FLAGS, source: ['/srv', '/srv'], to: ['/backup', '/backup'] };
    const lines = expect.objectContaining({
      0: expect.stringContaining('--source: ') as string,
      1: expect.stringContaining('--to: ') as string,
      length: 3,
    }) as string[];
    expect(() => jobFromFlags(twice, HOST)).toThrow(expect.objectContaining({ lines }) as Error);
  });

  it('takes a repository that is a path for one from the working directory', () => {
    for (const [to, repository] of [
      ['repo', resolve('repo')],
      ['./a:b', resolve('./a:b')],
      ['host:repo', 'host:repo'],
    ] as const) {
      const [target] = jobFromFlags({ ...FLAGS, engine: 'borg', to: [to] }, HOST).targets;
      expect(target?.repository?.repository).toBe(repository);
    }
  });

  it.each([
    ['--job', { ...FLAGS, job: '..' }],
    ['--source', { ...FLAGS, source: [] }],
    ['--source', { ...FLAGS, source: ['/srv', '/srv/'] }],
    ['--to', { ...FLAGS, to: [] }],
    ['--to', { ...FLAGS, to: ['/srv'] }],
    ['--engine', { ...FLAGS, engine: 'rsnyc' }],
    ['--exclude', { ...FLAGS, exclude: [''] }],
    ['--snapshot', { ...FLAGS, snapshot: 'lvmm' }],
    ['--timeout', { ...FLAGS, timeoutMs: 0 }],
    ['--no-timeout', { ...FLAGS, timeoutMs: 9000, noTimeout: true }],
    ['--max-hold', { ...FLAGS, maxHoldMs: 600_000 }],
  ])('names %s when that is what is wrong', (flag, flags) => {
    expect(() => jobFromFlags(flags, HOST)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining(flag) }),
    );
  });
});

it('refuses a time that is longer than a timer can wait', () => {
  const tooLong = /FSBACKUP_MAX_HOLD="577h" is too long: 24 days/;
  expect(() => freezeFromFlags({}, { ...HOST, env: { FSBACKUP_MAX_HOLD: '577h' } })).toThrow(tooLong);
});

describe('the timeout of a reset', () => {
  it('is what was said, by flag or variable, however long a freeze may last by default', () => {
    expect(resetTimeoutMs({}, {})).toBeUndefined();
    expect(resetTimeoutMs({}, { FSBACKUP_MAX_HOLD: '5s' })).toBeUndefined();
    expect(resetTimeoutMs({ timeoutMs: 90_000 }, { FSBACKUP_TIMEOUT: '5s' })).toBe(90_000);
    expect(resetTimeoutMs({}, { FSBACKUP_TIMEOUT: '90s', FSBACKUP_MAX_HOLD: '5s' })).toBe(90_000);
    expect(resetTimeoutMs({ noTimeout: true }, {})).toBe(0);
  });

  it('is none only where that is said', () => {
    expect(() => resetTimeoutMs({ timeoutMs: 1000 }, {})).toThrow(/--timeout: 1s means no timeout/);
  });
});

describe('freezeFromFlags', () => {
  it('takes flags over the environment over the defaults', () => {
    const context = { ...HOST, env: { FSBACKUP_TIMEOUT: '20s', FSBACKUP_MAX_HOLD: '100' } };
    expect(freezeFromFlags({}, context)).toEqual({ timeoutMs: 20_000, maxHoldMs: 100_000 });
    expect(freezeFromFlags({ timeoutMs: 2000 }, context)).toEqual({ timeoutMs: 2000, maxHoldMs: 100_000 });
    expect(freezeFromFlags({ maxHoldMs: 5000 }, HOST)).toEqual({ timeoutMs: 5000, maxHoldMs: 5000 });
    expect(freezeFromFlags({ noTimeout: true }, HOST)).toEqual({ timeoutMs: null, maxHoldMs: 60_000 });
  });

  it('refuses a timeout that the cap would come before', () => {
    expect(() => freezeFromFlags({ timeoutMs: 90_000 }, HOST)).toThrow(
      '--timeout: 90s is longer than --max-hold (1m)',
    );
  });
});
