import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { unlinkSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  acquireLock,
  jobLockName,
  locksForRecovery,
  targetLockName,
  tryAcquireLock,
  type Lock,
  type LockDependencies,
} from '../../../src/journal/lock.js';
import { tryLock } from '../../../src/system/native.js';

let directory: string;
let children: ChildProcess[];
const never = new AbortController().signal;

function dependencies(runId = 'run-1'): LockDependencies {
  return {
    tryLock,
    directories: [directory],
    holder: { pid: process.pid, startTime: 1, runId, command: 'run srv' },
  };
}

/** A process that holds the lock until it dies; resolves once it holds it. */
async function holdElsewhere(name: string): Promise<ChildProcess> {
  const file = path.join(directory, `${name}.lock`);
  const child = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo held; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  process.kill(-pid, 'SIGKILL');
  await ended;
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'locks-'));
  children = [];
});

afterEach(async () => {
  for (const child of children) await end(child);
  await rm(directory, { recursive: true });
});

describe('a lock', () => {
  it('is held also where there is no room to tell by whom', async () => {
    await symlink('/dev/full', path.join(directory, 'job-a.lock'));
    const held = await tryAcquireLock('job-a', dependencies());
    expect(held).toBeDefined();
    expect(await tryAcquireLock('job-a', dependencies('run-2'))).toBeUndefined();
    await held?.release();
    const again = await tryAcquireLock('job-a', dependencies('run-2'));
    expect(again).toBeDefined();
    await again?.release();
  });

  it('is held by one at a time, and free again after the release', async () => {
    const first = await tryAcquireLock('job-a', dependencies());
    expect(first).toBeDefined();
    expect(await tryAcquireLock('job-a', dependencies('run-2'))).toBeUndefined();
    await first?.release();
    await first?.release();
    const second = await tryAcquireLock('job-a', dependencies('run-2'));
    expect(second).toBeDefined();
    await second?.release();
  });

  it('says who holds it, for messages, and nobody once released', async () => {
    const take = (): Promise<Lock> =>
      acquireLock('job-a', 'the job a', dependencies('run-2'), { waitMs: 0, signal: never });
    const lock = await tryAcquireLock('job-a', dependencies());
    await expect(take()).rejects.toThrow(`the job a is in use by process ${process.pid} (run srv)`);
    await lock?.release();
    expect(await readFile(path.join(directory, 'job-a.lock'), 'utf8')).toBe('');
  });

  it('is one for all that share any of its directories, and takes all or none', async () => {
    const at = (...names: [string, ...string[]]): LockDependencies => ({
      ...dependencies(names.join(' ')),
      directories: names.map((name) => path.join(directory, name)) as [string, ...string[]],
    });
    const [first, second] = [at('run-1', 'state'), at('run-2', 'state')];
    const held = await tryAcquireLock('job-a', first);
    expect(held).toBeDefined();
    expect(await tryAcquireLock('job-a', second)).toBeUndefined();
    await expect(
      acquireLock('job-a', 'the job a', second, { waitMs: 0, signal: never }),
    ).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`process ${process.pid} (run srv)`),
    });
    // Of the one that is free nothing was kept.
    const alone = await tryAcquireLock('job-a', at('run-2'));
    expect(alone).toBeDefined();
    await alone?.release();
    await held?.release();
    const then = await tryAcquireLock('job-a', second);
    expect(then).toBeDefined();
    expect(await tryAcquireLock('job-a', first)).toBeUndefined();
    await then?.release();
  });

  it('is that of its first directory where a further one is on a filesystem without locks', async () => {
    let calls = 0;
    const lockless = (code: string): LockDependencies => ({
      ...dependencies(),
      directories: [directory, path.join(directory, 'state')],
      tryLock: (fd) => {
        calls += 1;
        if (calls % 2 === 0) throw Object.assign(new Error(code), { code });
        return tryLock(fd);
      },
    });
    const lock = await tryAcquireLock('job-a', lockless('ENOLCK'));
    expect(lock).toBeDefined();
    expect(await tryAcquireLock('job-a', dependencies('run-2'))).toBeUndefined();
    await lock?.release();
    await expect(tryAcquireLock('job-a', lockless('EIO'))).rejects.toThrow('EIO');
    const again = await tryAcquireLock('job-a', dependencies());
    expect(again).toBeDefined();
    await again?.release();
  });

  it('of another process is busy as long as that lives, whatever its file says', async () => {
    const child = await holdElsewhere('job-a');
    await expect(
      acquireLock('job-a', 'the job a', dependencies(), { waitMs: 0, signal: never }),
    ).rejects.toMatchObject({
      code: 'locked',
      exitCode: 11,
      message: 'the job a is in use by another process',
      hint: expect.stringContaining('--lock-wait') as string,
    });
    await expect(
      acquireLock('job-a', 'the job a', dependencies(), { waitMs: undefined, signal: never }),
    ).rejects.toMatchObject({ code: 'locked', hint: expect.not.stringContaining('--lock-wait') as string });
    await end(child);
    // flock's own child has the lock too, and dies a moment later.
    const lock = await acquireLock('job-a', 'the job a', dependencies(), { waitMs: 60_000, signal: never });
    await lock.release();
  });

  it('is waited for', async () => {
    const child = await holdElsewhere('job-a');
    const waiting = acquireLock('job-a', 'the job a', dependencies(), { waitMs: 60_000, signal: never });
    await end(child);
    const lock = await waiting;
    expect(lock.name).toBe('job-a');
    await lock.release();
  });

  it('is waited for aloud: for whom, once', async () => {
    const told: string[] = [];
    const lock = await tryAcquireLock('job-a', dependencies());
    const waiting = acquireLock('job-a', 'the job a', dependencies('run-2'), {
      waitMs: 60_000,
      signal: never,
      onWait: (message) => told.push(message),
    });
    await sleep(1000);
    await lock?.release();
    await (await waiting).release();
    expect(told).toEqual([`waiting for process ${process.pid} (run srv), which has the job a`]);
    // Nobody waits for what is free.
    await (
      await acquireLock('job-a', 'the job a', dependencies(), {
        waitMs: 60_000,
        signal: never,
        onWait: (message) => told.push(message),
      })
    ).release();
    expect(told).toHaveLength(1);
  });

  it('of a recovery is waited for, however little one waits, and that of who lives is not', async () => {
    const recovering = await locksForRecovery(dependencies('run-2'), 'own')('a');
    const acquire = (): Promise<Lock> =>
      acquireLock('job-a', 'the job a', dependencies(), { waitMs: 0, signal: never });
    let lock: Lock | undefined;
    const waiting = acquire().then((taken) => (lock = taken));
    // Longer than it takes to tell who holds a lock.
    await sleep(1000);
    expect(lock).toBeUndefined();
    await recovering?.release();
    await waiting;
    await expect(acquire()).rejects.toMatchObject({ code: 'locked' });
    expect(await locksForRecovery(dependencies('run-3'))('a')).toBeUndefined();
    // That of its own job is held already.
    expect(await locksForRecovery(dependencies('run-3'), 'a')('a')).toBeDefined();
    await lock?.release();
  });

  it('of a recovery is waited for to its very end, when its file does not tell any more whose it is', async () => {
    const recovering = await locksForRecovery(dependencies('run-2'), 'own')('a');
    const waiting = acquireLock('job-a', 'the job a', dependencies(), { waitMs: 0, signal: never });
    // Longer than one waits for a file to tell.
    await sleep(1000);
    await writeFile(path.join(directory, 'job-a.lock'), '');
    await sleep(200);
    await recovering?.release();
    const lock = await waiting;
    expect(lock.name).toBe('job-a');
    await lock.release();
  });

  it('is given a moment to tell who holds it, while its file tells of somebody who is dead', async () => {
    const gone = spawn('true');
    await once(gone, 'exit');
    await holdElsewhere('job-a');
    await writeFile(
      path.join(directory, 'job-a.lock'),
      JSON.stringify({ pid: gone.pid, command: 'run a', isRecovery: true }),
    );
    const begun = performance.now();
    await expect(
      acquireLock('job-a', 'the job a', dependencies(), { waitMs: 0, signal: never }),
    ).rejects.toMatchObject({ code: 'locked' });
    expect(performance.now() - begun).toBeGreaterThan(400);
  });

  it('is no longer waited for after an abort', async () => {
    await holdElsewhere('job-a');
    const controller = new AbortController();
    const waiting = acquireLock('job-a', 'the job a', dependencies(), {
      waitMs: 600_000,
      signal: controller.signal,
    });
    controller.abort(new Error('interrupted'));
    await expect(waiting).rejects.toThrow('interrupted');
  });

  it('is taken on the file that the name leads to, not on one that was removed meanwhile', async () => {
    const file = path.join(directory, 'job-a.lock');
    let calls = 0;
    const lock = await tryAcquireLock('job-a', {
      ...dependencies(),
      tryLock: (fd) => {
        calls += 1;
        // Between open and flock somebody cleans the directory.
        if (calls === 1) unlinkSync(file);
        return tryLock(fd);
      },
    });
    expect(calls).toBe(2);
    expect(await tryAcquireLock('job-a', dependencies('run-2'))).toBeUndefined();
    await lock?.release();
  });

  it('that cannot be made says so', async () => {
    await writeFile(path.join(directory, 'file'), '');
    const impossible = {
      ...dependencies(),
      directories: [path.join(directory, 'file/locks')],
    } satisfies LockDependencies;
    await expect(tryAcquireLock('job-a', impossible)).rejects.toMatchObject({ code: 'failed' });
  });

  it('does not pass to a child of the holder', async () => {
    const lock = await tryAcquireLock('job-a', dependencies());
    const child = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
    children.push(child);
    await once(child, 'spawn');
    await lock?.release();
    const again = await tryAcquireLock('job-a', dependencies());
    expect(again).toBeDefined();
    await again?.release();
  });
});

describe('the name of a lock', () => {
  it('cannot leave the directory', () => {
    expect(jobLockName('../x')).not.toContain('/');
    expect(targetLockName('/backup')).toMatch(/^target-[0-9a-f]{16}$/);
    expect(targetLockName('/backup')).not.toBe(targetLockName('/backup2'));
  });
});
