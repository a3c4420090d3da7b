import { describe, expect, it } from 'vitest';
import { ResticRepository } from '../../../src/copy/restic/restic-repository.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';

const DONE = { signal: undefined, notFound: false, timedOut: false, aborted: false, stdout: '' } as const;
const GOOD: CommandResult = { ...DONE, exitCode: 0, stderr: '' };
const BAD: CommandResult = { ...DONE, exitCode: 1, stderr: 'Fatal: pack 1ae063: does not exist\n' };
/** As restic 0.14 said it. */
const LOCKED: CommandResult = {
  ...DONE,
  exitCode: 1,
  stderr: [
    'unable to create lock in backend: repository is already locked exclusively by PID 25602 on vm by root (UID 0, GID 0)',
    'lock was created at 2026-11-27 19:52:00 (3.354806749s ago)',
    'storage ID 606965b7',
    'the `unlock` command can be used to remove stale locks',
    '',
  ].join('\n'),
};

/** A restic that ends so, one time after the other, and then always as the last time; what it was asked is in `asked`. */
function ending(...results: CommandResult[]): { run: typeof runCommand; asked: string[] } {
  const asked: string[] = [];
  const run: typeof runCommand = async (argv) => {
    asked.push(argv.slice(1).join(' '));
    return await Promise.resolve((results.length > 1 ? results.shift() : results[0]) ?? GOOD);
  };
  return { run, asked };
}

const QUICK = { lockPatience: { waitMs: 50, pauseMs: 1 } };
const { signal } = new AbortController();

describe('a repository of restic that another one has locked', () => {
  it('is waited for, and its lock left alone', async () => {
    const { run, asked } = ending(LOCKED, LOCKED, GOOD);
    const patient = { lockPatience: { waitMs: 600_000, pauseMs: 1 } };
    const result = await new ResticRepository(run, '/r', [], patient).run(['forget', '--prune']);
    expect(result.exitCode).toBe(0);
    expect(asked).toEqual(['forget --prune', 'forget --prune', 'forget --prune']);
  });

  it('for too long is told with whose lock it is, and is no matter of the configuration', async () => {
    const repository = new ResticRepository(ending(LOCKED).run, '/r', [], QUICK);
    const error = repository.failure(await repository.run(['backup']));
    expect(error).toMatchObject({
      code: 'copyFailed',
      message:
        '/r is locked by another restic (exclusively by PID 25602 on vm by root (UID 0, GID 0), since 2026-11-27 19:52:00, lock 606965b7)',
      hint: expect.stringContaining('restic unlock') as string,
    });
    await expect(repository.open(false)).rejects.toMatchObject({ code: 'copyFailed' });
  });

  it('is not waited for by who is stopped', async () => {
    const long = { lockPatience: { waitMs: 1_200_000, pauseMs: 600_000 } };
    const repository = new ResticRepository(ending(LOCKED).run, '/r', [], long);
    const result = await repository.run(['backup'], { signal: AbortSignal.abort() });
    expect(result.aborted).toBe(true);
  });

  it('is opened and checked without a lock', async () => {
    const { run, asked } = ending({ ...GOOD, stdout: '{"id": "ab12"}' });
    const repository = new ResticRepository(run, '/r', [], QUICK);
    await repository.open(false);
    expect(await repository.check(true, signal)).toEqual([]);
    expect(asked).toEqual(['cat --no-lock config', 'check --read-data --no-lock']);
  });
});

describe('damage that a check without a lock found', () => {
  it('is none when it is not there with one: somebody pruned meanwhile', async () => {
    const { run, asked } = ending(BAD, GOOD);
    expect(await new ResticRepository(run, '/r', [], QUICK).check(false, signal)).toEqual([]);
    expect(asked).toEqual(['check --no-lock', 'check']);
  });

  it('is told when it is there with one', async () => {
    const repository = new ResticRepository(ending(BAD).run, '/r', [], QUICK);
    expect(await repository.check(false, signal)).toEqual(['Fatal: pack 1ae063: does not exist']);
  });

  it('is no verdict while somebody writes', async () => {
    const repository = new ResticRepository(ending(BAD, LOCKED).run, '/r', [], QUICK);
    await expect(repository.check(false, signal)).rejects.toMatchObject({
      code: 'copyFailed',
      message: expect.stringContaining('pack 1ae063: does not exist') as string,
    });
  });
});
