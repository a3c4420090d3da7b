import {
  appendFile,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunReport } from '../../../src/report/run-report.js';
import { readLastRuns, recordKilled, recordRun } from '../../../src/run/history.js';

let directory: string;

function report(job: string, startedAt: string, overrides: Partial<RunReport> = {}): RunReport {
  return {
    version: 1,
    job,
    runId: `run-${startedAt}`,
    outcome: 'success',
    exitCode: 0,
    consistency: 'filesystem',
    oneInstant: true,
    startedAt,
    finishedAt: startedAt,
    freeze: { timeoutSeconds: 10, heartbeatSeconds: 5, maxHoldSeconds: 60 },
    sources: [],
    copies: [],
    steps: [],
    warnings: [],
    ...overrides,
  };
}

beforeEach(async () => {
  directory = path.join(await mkdtemp(path.join(os.tmpdir(), 'history-')), 'history');
});

afterEach(async () => {
  await rm(path.dirname(directory), { recursive: true });
});

describe('the history', () => {
  it('gives the last run of each job, the newest first', async () => {
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    await recordRun(report('b', '2026-11-23T02:00:00Z'), directory);
    await recordRun(report('a', '2026-11-23T03:00:00Z', { outcome: 'failed', exitCode: 40 }), directory);
    expect(await readLastRuns(directory)).toEqual([
      {
        job: 'a',
        runId: 'run-2026-11-23T03:00:00Z',
        outcome: 'failed',
        exitCode: 40,
        consistency: 'filesystem',
        startedAt: '2026-11-23T03:00:00Z',
        finishedAt: '2026-11-23T03:00:00Z',
        lastWholeAt: '2026-11-23T01:00:00Z',
      },
      expect.objectContaining({ job: 'b' }),
    ]);
  });

  it('tells of a run that was killed, once, and of none that told its end', async () => {
    const told = report('a', '2026-11-23T02:00:00Z');
    await recordRun(told, directory);
    await recordKilled(told, directory);
    expect(await readLastRuns(directory)).toMatchObject([{ outcome: 'success' }]);
    const killed = { job: 'a', runId: 'run-killed', startedAt: '2026-11-23T03:00:00Z' };
    await recordKilled(killed, directory);
    await recordKilled(killed, directory);
    expect(await readLastRuns(directory)).toMatchObject([
      { ...killed, outcome: 'killed', exitCode: 1, consistency: 'none', lastWholeAt: told.finishedAt },
    ]);
    expect((await readFile(path.join(directory, 'a.jsonl'), 'utf8')).trimEnd().split('\n')).toHaveLength(2);
  });

  it('passes over a line that is JSON and no run', async () => {
    const run = report('a', '2026-11-23T02:00:00Z');
    await recordRun(run, directory);
    const lines = ['null', '1', '"a"', '[]', JSON.stringify({ ...run, startedAt: 1 })];
    await appendFile(
      path.join(directory, 'a.jsonl'),
      `${[...lines, JSON.stringify({ ...run, leftOut: null })].join('\n')}\n`,
    );
    expect(await readLastRuns(directory)).toMatchObject([{ runId: run.runId, lastWholeAt: run.finishedAt }]);
  });

  it.each([
    [0, '2026-11-23T02:00:00Z'],
    [3, '2026-11-23T02:00:00Z'],
    [41, null],
    [40, null],
  ])('takes a run that exited %s for one that left whole backups, or not', async (code, lastWholeAt) => {
    await recordRun(report('a', '2026-11-23T02:00:00Z', { exitCode: code }), directory);
    await recordRun(report('a', '2026-11-23T03:00:00Z', { outcome: 'failed', exitCode: 20 }), directory);
    expect(await readLastRuns(directory)).toMatchObject([{ exitCode: 20, lastWholeAt }]);
  });

  it('takes none that left something out for one that left whole backups', async () => {
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    const lacks = { outcome: 'warnings', exitCode: 3, leftOut: ['/srv/sub'] } as const;
    await recordRun(
      report('a', '2026-11-23T02:00:00Z', { ...lacks, leftOut: [...lacks.leftOut] }),
      directory,
    );
    const [last] = await readLastRuns(directory);
    expect(last).toMatchObject({ exitCode: 3, lastWholeAt: '2026-11-23T01:00:00Z' });
  });

  it('knows of a whole backup from what was put aside', async () => {
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    const file = path.join(directory, 'a.jsonl');
    await rename(file, `${file}.1`);
    await recordRun(report('a', '2026-11-23T02:00:00Z', { outcome: 'failed', exitCode: 1 }), directory);
    expect(await readLastRuns(directory)).toMatchObject([{ lastWholeAt: '2026-11-23T01:00:00Z' }]);
  });

  it('knows of a whole backup however many runs failed since', async () => {
    const file = path.join(directory, 'a.jsonl');
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    const failed = report('a', '2026-11-23T02:00:00Z', { outcome: 'failed', exitCode: 1 });
    const line = `${JSON.stringify(failed)}\n`;
    for (let full = 0; full < 3; full += 1) {
      await appendFile(file, line.repeat(Math.ceil((4 * 1024 * 1024) / line.length)));
      await recordRun(failed, directory);
      expect(await readLastRuns(directory)).toMatchObject([
        { exitCode: 1, lastWholeAt: '2026-11-23T01:00:00Z' },
      ]);
    }
  });

  it('passes over a torn line', async () => {
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    await appendFile(path.join(directory, 'a.jsonl'), '{"job":"a","runId"');
    expect(await readLastRuns(directory)).toMatchObject([{ startedAt: '2026-11-23T01:00:00Z' }]);
  });

  it('loses no run that comes after a torn line', async () => {
    const file = path.join(directory, 'a.jsonl');
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    await truncate(file, (await stat(file)).size - 40);
    await recordRun(report('a', '2026-11-23T02:00:00Z'), directory);
    await recordRun(report('a', '2026-11-23T03:00:00Z', { exitCode: 40 }), directory);
    expect(await readLastRuns(directory)).toMatchObject([
      { startedAt: '2026-11-23T03:00:00Z', lastWholeAt: '2026-11-23T02:00:00Z' },
    ]);
    expect((await readFile(file, 'utf8')).split('\n')).toHaveLength(4);
  });

  it('is empty before the first run', async () => {
    expect(await readLastRuns(directory)).toEqual([]);
  });

  it('is private, and does not grow without end', async () => {
    await recordRun(report('a', '2026-11-23T01:00:00Z'), directory);
    const file = path.join(directory, 'a.jsonl');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await writeFile(file, 'x'.repeat(5 * 1024 * 1024));
    await recordRun(report('a', '2026-11-23T02:00:00Z'), directory);
    expect(await readdir(directory)).toEqual(['a.jsonl', 'a.jsonl.1']);
    expect((await readFile(file, 'utf8')).split('\n')).toHaveLength(2);
  });
});
