import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { CompleteBackup } from '../../../src/copy/backup/backup-list.js';
import type { NotFound } from '../../../src/copy/verify/asked-backups.js';
import type { VerifyReport } from '../../../src/copy/verify/verify-backup.js';
import { verifyEach, type Examine } from '../../../src/copy/verify/verify-backups.js';
import { FsbackupError } from '../../../src/errors.js';
import { silentReporter } from '../../../src/report/silent-reporter.js';

let state: string;

beforeEach(async () => {
  state = await mkdtemp(path.join(os.tmpdir(), 'verify-each-'));
  vi.stubEnv('FSBACKUP_STATE_DIR', state);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(state, { recursive: true });
});

const ID = '20260102T030405Z-1a2b3c';

function backup(job: string): CompleteBackup {
  return { job, backupId: ID, target: '/backup', state: 'complete' } as CompleteBackup;
}

function locked(): FsbackupError {
  return new FsbackupError('locked', 'another drill', { hint: 'Wait.' });
}

const good: Examine = async ({ job, backupId, target }) =>
  Promise.resolve({
    job,
    backupId,
    target,
    mode: 'quick',
    outcome: 'ok',
    exitCode: 0,
    finishedAt: '2026-01-02T03:04:08.000Z',
  } as VerifyReport);

async function* these(...all: (CompleteBackup | NotFound)[]): AsyncGenerator<CompleteBackup | NotFound> {
  for (const one of all) yield await Promise.resolve(one);
}

const options = { mode: 'quick', step: 'verify', reporter: silentReporter } as const;

function verify(asked: AsyncIterable<CompleteBackup | NotFound>, examine: Examine, signal?: AbortSignal) {
  return verifyEach(asked, { ...options, signal: signal ?? new AbortController().signal }, examine);
}

it('has what could not be looked at in its place, and puts no verdict of it on record', async () => {
  const missing = { job: 'gone', target: '/far', error: locked() };
  const entries = await verify(
    these(backup('one'), missing, backup('two'), backup('three')),
    (one, onProgress) =>
      one.job === 'two' ? Promise.reject(new Error('what nobody expects')) : good(one, onProgress),
  );
  expect(entries).toMatchObject([
    { job: 'one', outcome: 'ok' },
    { job: 'gone', target: '/far', backupId: null, exitCode: 11, error: { code: 'locked' } },
    { job: 'two', target: '/backup', backupId: ID, exitCode: 70, error: { code: 'bug' } },
    { job: 'three', outcome: 'ok' },
  ]);
  expect(entries.map((entry) => 'outcome' in entry)).toEqual([true, false, false, true]);
  const history = path.join(state, 'history', 'verified');
  expect((await readdir(history)).toSorted()).toEqual(['one.jsonl', 'three.jsonl']);
  expect(await readFile(path.join(history, 'one.jsonl'), 'utf8')).toContain('"outcome":"ok"');
});

it('rejects as the one that it is about, when it is about one', async () => {
  const error = locked();
  await expect(verify(these({ job: 'gone', target: null, error }), good)).rejects.toBe(error);
});

it('is ended by a signal, and tells what it had found', async () => {
  const controller = new AbortController();
  const entries = await verify(
    these(backup('one'), backup('two'), backup('three')),
    (one, onProgress) => {
      if (one.job === 'one') return good(one, onProgress);
      controller.abort(new FsbackupError('terminated', 'interrupted by TERM', { hint: 'Again.' }));
      return Promise.reject(controller.signal.reason as Error);
    },
    controller.signal,
  );
  expect(entries).toMatchObject([
    { job: 'one', outcome: 'ok' },
    { job: 'two', exitCode: 143, error: { code: 'terminated' } },
  ]);
});
