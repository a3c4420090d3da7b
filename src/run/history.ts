import { appendFile, readdir, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import type { RunReport } from '../report/run-report.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';

/** A job's history is put aside at this size; the one before it is dropped. Some thousand runs. */
const ROTATE_BYTES = 4 * 1024 * 1024;
const SUFFIX = '.jsonl';

/** What `status` shows of a run. */
export type RunSummary = Pick<
  RunReport,
  'job' | 'runId' | 'outcome' | 'exitCode' | 'consistency' | 'startedAt' | 'finishedAt'
>;

export function historyDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(stateDirectory(env), 'history');
}

function historyFile(directory: string, job: string): string {
  return path.join(directory, `${encodeURIComponent(job)}${SUFFIX}`);
}

async function rotate(file: string): Promise<void> {
  try {
    if ((await stat(file)).size < ROTATE_BYTES) return;
    await rename(file, `${file}.1`);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** Adds a run to its job's history: a line of JSON each. Rejects with the system's error. */
export async function recordRun(report: RunReport, directory = historyDirectory()): Promise<void> {
  await ensurePrivateDirectory(directory);
  const file = historyFile(directory, report.job);
  await rotate(file);
  await appendFile(file, `${JSON.stringify(report)}\n`, { mode: 0o600 });
}

function summarise(line: string): RunSummary | undefined {
  let value: Partial<RunSummary>;
  try {
    value = JSON.parse(line) as Partial<RunSummary>;
  } catch {
    // Torn by a crash or a full disk.
    return undefined;
  }
  const { job, runId, outcome, exitCode, consistency, startedAt, finishedAt } = value;
  if (job === undefined || runId === undefined || outcome === undefined) return undefined;
  if (exitCode === undefined || consistency === undefined) return undefined;
  if (startedAt === undefined || finishedAt === undefined) return undefined;
  return { job, runId, outcome, exitCode, consistency, startedAt, finishedAt };
}

/** The last run of every job that has a history, the newest first. Lines that cannot be read are passed over. */
export async function readLastRuns(directory = historyDirectory()): Promise<RunSummary[]> {
  let names: string[];
  try {
    names = (await readdir(directory)).filter((name) => name.endsWith(SUFFIX));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const runs: RunSummary[] = [];
  for (const name of names) {
    const lines = (await readFile(path.join(directory, name), 'utf8')).trimEnd().split('\n');
    const last = lines
      .toReversed()
      .map(summarise)
      .find((summary) => summary !== undefined);
    if (last !== undefined) runs.push(last);
  }
  return runs.toSorted((a, b) => b.startedAt.localeCompare(a.startedAt));
}
