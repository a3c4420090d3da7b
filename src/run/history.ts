import { readdir, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { exitCode as exitCodeOf } from '../exit-codes.js';
import { appendDurably } from '../journal/durable-file.js';
import type { RunReport } from '../report/run-report.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';

/** A job's history is put aside at this size; the one before it is dropped, but for the last whole run. Some thousand runs. */
const ROTATE_BYTES = 4 * 1024 * 1024;
const SUFFIX = '.jsonl';
const PUT_ASIDE = '.1';

/** What `status` shows of a run. */
export interface RunSummary extends Pick<
  RunReport,
  'job' | 'runId' | 'exitCode' | 'consistency' | 'startedAt' | 'finishedAt'
> {
  /** `killed`: it told nothing of its end; `finishedAt` is when that was found. */
  outcome: RunReport['outcome'] | 'killed';
}

export function historyDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(stateDirectory(env), 'history');
}

/** A job's last run, and when it was last well. */
export interface LastRun extends RunSummary {
  /** When the last run ended that left a whole backup in every target, and nothing out; null where none is known. */
  lastWholeAt: string | null;
}

function historyFile(directory: string, job: string): string {
  return path.join(directory, `${encodeURIComponent(job)}${SUFFIX}`);
}

interface PastRun {
  summary: RunSummary;
  isWhole: boolean;
}

/** Other warnings are of what weakens a backup, and not of what it lacks. Reports of before there was `leftOut` do not tell. */
function isWhole({ exitCode, leftOut = [] }: Pick<RunReport, 'exitCode' | 'leftOut'>): boolean {
  return (exitCode === 0 || exitCode === exitCodeOf('warnings')) && leftOut.length === 0;
}

function readRun(line: string): PastRun | undefined {
  let value: Partial<RunSummary & Pick<RunReport, 'leftOut'>>;
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== 'object' || parsed === null) return undefined;
    value = parsed;
  } catch {
    // Torn by a crash or a full disk.
    return undefined;
  }
  const { job, runId, outcome, exitCode, consistency, startedAt, finishedAt } = value;
  if (job === undefined || runId === undefined || outcome === undefined) return undefined;
  if (exitCode === undefined || consistency === undefined) return undefined;
  if (typeof startedAt !== 'string' || typeof finishedAt !== 'string') return undefined;
  const { leftOut = [] } = value;
  if (!Array.isArray(leftOut)) return undefined;
  return {
    summary: { job, runId, outcome, exitCode, consistency, startedAt, finishedAt },
    isWhole: isWhole({ exitCode, leftOut }),
  };
}

/** The newest first. */
async function readLines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  });
  return text.trimEnd().split('\n').toReversed();
}

/** The newest first. */
async function readRuns(file: string): Promise<PastRun[]> {
  return (await readLines(file)).map(readRun).filter((run) => run !== undefined);
}

/** The line of the last run that left whole backups; undefined where there is none. */
async function lastWholeLine(file: string): Promise<string | undefined> {
  return (await readLines(file)).find((line) => readRun(line)?.isWhole === true);
}

/**
 * Puts a history aside that is full. Resolves to what the new one is to begin with: the last whole run, where that would go
 * with what was put aside before. A job that fails for months is asked for just that.
 */
async function rotate(file: string): Promise<string> {
  try {
    if ((await stat(file)).size < ROTATE_BYTES) return '';
    const isKept = (await lastWholeLine(file)) !== undefined;
    const kept = isKept ? undefined : await lastWholeLine(`${file}${PUT_ASIDE}`);
    await rename(file, `${file}${PUT_ASIDE}`);
    return kept === undefined ? '' : `${kept}\n`;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return '';
  }
}

async function append(run: RunSummary, directory: string): Promise<void> {
  await ensurePrivateDirectory(directory);
  const file = historyFile(directory, run.job);
  const kept = await rotate(file);
  await appendDurably(file, `${kept}${JSON.stringify(run)}\n`);
}

/** Adds a run to its job's history: a line of JSON each. Rejects with the system's error. */
export async function recordRun(report: RunReport, directory = historyDirectory()): Promise<void> {
  await append(report, directory);
}

/**
 * Adds a dead run that left something, and did not tell its end by itself, to its job's history, once. Needs the job's lock.
 * Rejects with the system's error.
 */
export async function recordKilled(
  { job, runId, startedAt }: Pick<RunSummary, 'job' | 'runId' | 'startedAt'>,
  directory = historyDirectory(),
): Promise<void> {
  const file = historyFile(directory, job);
  for (const each of [file, `${file}${PUT_ASIDE}`])
    if ((await readRuns(each)).some(({ summary }) => summary.runId === runId)) return;
  const finishedAt = new Date().toISOString();
  const end = { outcome: 'killed', exitCode: exitCodeOf('failed'), consistency: 'none' } as const;
  await append({ job, runId, startedAt, finishedAt, ...end }, directory);
}

/** The last run of every job that has a history, the newest first. Lines that cannot be read are passed over. */
export async function readLastRuns(directory = historyDirectory()): Promise<LastRun[]> {
  let names: string[];
  try {
    names = (await readdir(directory)).filter((name) => name.endsWith(SUFFIX));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const last: LastRun[] = [];
  for (const name of names) {
    const file = path.join(directory, name);
    const runs = await readRuns(file);
    const [newest] = runs;
    if (newest === undefined) continue;
    const isWanted = (run: PastRun): boolean => run.isWhole;
    const whole = runs.find(isWanted) ?? (await readRuns(`${file}${PUT_ASIDE}`)).find(isWanted);
    last.push({ ...newest.summary, lastWholeAt: whole?.summary.finishedAt ?? null });
  }
  return last.toSorted((a, b) => b.startedAt.localeCompare(a.startedAt));
}
