import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { isRunning } from '../system/process-identity.js';
import type { LockHolder } from './lock.js';

/** Who has the lock of a job. */
export interface JobLockHolder extends Pick<LockHolder, 'pid' | 'runId' | 'command'> {
  job: string;
  /** When it took the lock, RFC 3339. */
  since: string;
}

const JOB_LOCK = /^job-(.+)\.lock$/;

function parseHolder(text: string): LockHolder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<LockHolder> | null;
    const { pid, startTime, runId, command } = holder ?? {};
    if (typeof pid !== 'number' || typeof startTime !== 'number') return undefined;
    if (typeof runId !== 'string' || typeof command !== 'string') return undefined;
    return { pid, startTime, runId, command };
  } catch {
    // Nobody's: it is emptied when it is let go; or just being written.
    return undefined;
  }
}

/**
 * Who has the locks of jobs, restores and drills now, by what the lock files in `directory` say and whether that process
 * runs. No lock is tried: that would turn away a run that starts just now.
 */
export async function readJobLockHolders(directory: string): Promise<JobLockHolder[]> {
  const names = await readdir(directory).catch((error: unknown): string[] => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  const holders: JobLockHolder[] = [];
  for (const name of names.toSorted()) {
    const [, job] = JOB_LOCK.exec(name) ?? [];
    if (job === undefined) continue;
    const file = path.join(directory, name);
    const holder = parseHolder(await readFile(file, 'utf8'));
    if (holder === undefined || !isRunning(holder)) continue;
    const { pid, runId, command } = holder;
    const since = (await stat(file)).mtime.toISOString();
    holders.push({ job: decodeURIComponent(job), runId, pid, command, since });
  }
  return holders;
}
