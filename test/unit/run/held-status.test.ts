import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openJournal, readJournal, type JournalDirectories } from '../../../src/journal/journal.js';
import { readJobLockHolders } from '../../../src/journal/lock-holders.js';
import { jobLockName, targetLockName, tryAcquireLock } from '../../../src/journal/lock.js';
import { heldStatus } from '../../../src/run/held-status.js';
import { renderHeld } from '../../../src/run/render-held.js';
import { tryLock } from '../../../src/system/native.js';
import { parseStartTime } from '../../../src/system/process-identity.js';

let root: string;
let directories: JournalDirectories;

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'held-'));
  directories = { durable: path.join(root, 'state'), volatile: path.join(root, 'run') };
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

/** What a run of `job` that began with `pid` holds in its copy. */
async function aRun(job: string, pid: number): Promise<void> {
  const journal = openJournal(directories, {
    job,
    runId: `run-${job}`,
    process: { bootId: 'b', pid, startTime: 1 },
  });
  await journal.record('quiesce', { name: 'shop', after: ['true'], timeoutMs: 1 });
  await journal.record('backup', { target: '/b', engine: 'rsync', job, backupId: `b-${job}` });
}

describe('what is held', () => {
  it('is of a run that goes on, or left behind; applications first, and what cannot be read', async () => {
    await aRun('living', 7);
    await aRun('dead', 8);
    await writeFile(path.join(directories.durable, 'zz.json'), 'torn');
    const since = '2026-11-23T03:00:00Z';
    const holders = [
      { job: 'living', runId: 'run-living', pid: 7, command: 'run living', since },
      { job: 'early', runId: 'run-early', pid: 9, command: 'run early', since },
    ];
    const status = heldStatus(await readJournal(directories), holders, ({ pid }) => pid === 7);
    expect(status.running).toEqual([
      {
        ...holders[0],
        holds: [
          { kind: 'backup', what: 'incomplete backup b-living in /b' },
          { kind: 'quiesce', what: 'application shop' },
        ],
      },
      { ...holders[1], holds: [] },
    ]);
    expect(status.leftBehind).toMatchObject([
      { kind: 'quiesce', what: 'application shop', job: 'dead', runId: 'run-dead' },
      { kind: 'backup', what: 'incomplete backup b-dead in /b', job: 'dead', runId: 'run-dead' },
      { kind: 'unreadable', job: null, runId: null, since: null },
    ]);
    const text = renderHeld(status).split('\n');
    expect(text[1]).toMatch(/^ {2}living: run run-living since .*, pid 7 \(run living\); holds incomplete/);
    expect(text[3]).toContain('run "fsbackup recover"');
    expect(text[4]).toMatch(/^ {2}application shop of job dead, run run-dead, since .*AT REST/);
    expect(text).toHaveLength(7);
  });

  it('is told also of a run whose lock file could not be written', async () => {
    await aRun('living', 7);
    const { running, leftBehind } = heldStatus(await readJournal(directories), [], () => true);
    expect(running).toMatchObject([{ job: 'living', pid: 7, command: null, holds: [{}, {}] }]);
    expect(leftBehind).toEqual([]);
  });

  it('is nothing where nothing is, and not where that is not known', () => {
    const nothing = { running: [], leftBehind: [] };
    expect(renderHeld(nothing)).toBe('');
    expect(renderHeld(nothing, ['running', 'leftBehind'])).toContain('NOT KNOWN');
  });
});

describe('the locks of jobs', () => {
  it('tell who has them, and neither who had them nor who is dead', async () => {
    const locks = path.join(root, 'locks');
    expect(await readJobLockHolders(locks)).toEqual([]);
    const startTime = parseStartTime(await readFile('/proc/self/stat', 'utf8'));
    const take = async (name: string, pid: number, start: number): ReturnType<typeof tryAcquireLock> =>
      await tryAcquireLock(name, {
        tryLock,
        directories: [locks],
        holder: { pid, startTime: start, runId: `run-${name}`, command: 'run --all' },
      });
    const child = spawn('true');
    await once(child, 'exit');
    const taken = [
      await take(jobLockName('a/b'), process.pid, startTime),
      await take(targetLockName('/b'), process.pid, startTime),
      await take(jobLockName('another process'), process.pid, startTime - 1),
      await take(jobLockName('dead'), child.pid ?? 0, 1),
    ];
    await (await take(jobLockName('over'), process.pid, startTime))?.release();
    expect(await readJobLockHolders(locks)).toEqual([
      {
        job: 'a/b',
        runId: 'run-job-a%2Fb',
        pid: process.pid,
        command: 'run --all',
        since: expect.stringMatching(/Z$/) as string,
      },
    ]);
    for (const lock of taken) await lock?.release();
  });
});
