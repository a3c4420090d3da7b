import { readdir, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { exitCode as exitCodeOf } from '../exit-codes.js';
import { appendDurably } from '../journal/durable-file.js';
import type { RunReport } from '../report/run-report.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';

/** A job's history is put aside at this size; the one before it is dropped. Some thousand runs. */
const ROTATE_BYTES = 4 * 1024 * 1024;
const SUFFIX = '.jsonl';
const PUT_ASIDE = '.1';

/** What `status` shows of a run. */
export type RunSummary = Pick<
  RunReport,
  'job' | 'runId' | 'outcome' | 'exitCode' | 'consistency' | 'startedAt' | 'finishedAt'
>;

export function historyDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(stateDirectory(env), 'history');
}

/** A job's last run, and when it was last well. */
export interface LastRun extends RunSummary {
  /** When the last run ended that left a whole backup in every target; null where none is known. */
  lastWholeAt: string | null;
}

function historyFile(directory: string, job: string): string {
  return path.join(directory, `${encodeURIComponent(job)}${SUFFIX}`);
}

async function rotate(file: string): Promise<void> {
  try {
    if ((await stat(file)).size < ROTATE_BYTES) return;
    await rename(file, `${file}${PUT_ASIDE}`);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** Adds a run to its job's history: a line of JSON each. Rejects with the system's error. */
export async function recordRun(report: RunReport, directory = historyDirectory()): Promise<void> {
  await ensurePrivateDirectory(directory);
  const file = historyFile(directory, report.job);
  await rotate(file);
  await appendDurably(file, `${JSON.stringify(report)}\n`);
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

/** The newest first. */
async function readRuns(file: string): Promise<RunSummary[]> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  });
  const lines = text.trimEnd().split('\n').toReversed();
  return lines.map(summarise).filter((summary) => summary !== undefined);
}

/** Warnings are of what weakens a backup, and not of what it lacks: that is another exit code. */
function isWhole({ exitCode }: RunSummary): boolean {
  return exitCode === 0 || exitCode === exitCodeOf('warnings');
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
    const whole = runs.find(isWhole) ?? (await readRuns(`${file}${PUT_ASIDE}`)).find(isWhole);
    last.push({ ...newest, lastWholeAt: whole?.finishedAt ?? null });
  }
  return last.toSorted((a, b) => b.startedAt.localeCompare(a.startedAt));
}
