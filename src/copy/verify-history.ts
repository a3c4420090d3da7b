import { appendFile, readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../errors.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';
import type { BackupRef } from './backup-layout.js';
import { targetName, targetOf, type RepositorySettings } from '../backup-target.js';

const recordSchema = z.object({
  version: z.literal(1),
  /** As people know it: the directory, or the repository. */
  target: z.string(),
  job: z.string(),
  backupId: z.string(),
  mode: z.enum(['quick', 'full']),
  /** `unproven`: nothing wrong was found, and not all could be compared. */
  outcome: z.enum(['ok', 'unproven', 'failed']),
  finishedAt: z.iso.datetime(),
});

/** One verification, as the history keeps it. */
export type VerifyRecord = z.infer<typeof recordSchema>;

/** The last verification of each backup of some job. */
export type Verifications = (
  backup: BackupRef & { repository?: RepositorySettings },
) => VerifyRecord | undefined;

/** A job's history is put aside at this size; the one before it is dropped. */
const ROTATE_BYTES = 4 * 1024 * 1024;

function historyFile(job: string, directory: string): string {
  return path.join(directory, `${encodeURIComponent(job)}.jsonl`);
}

/** Beside the history of runs. */
function historyDirectory(): string {
  return path.join(stateDirectory(), 'history', 'verified');
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

/** Adds a verification to the history of its job. Rejects with the system's error. */
export async function recordVerification(
  record: VerifyRecord,
  directory = historyDirectory(),
): Promise<void> {
  await ensurePrivateDirectory(directory);
  const file = historyFile(record.job, directory);
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size >= ROTATE_BYTES) await rename(file, `${file}.1`);
  await appendFile(file, `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

function parseLine(line: string): VerifyRecord | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(line)).data;
  } catch {
    // Torn by a crash or a full disk.
    return undefined;
  }
}

function keyOf({ target, job, backupId }: BackupRef): string {
  return JSON.stringify([target, job, backupId]);
}

/** Reads what the history tells of the backups of these jobs. Lines that cannot be read are passed over. */
export async function readVerifications(
  jobs: Iterable<string>,
  directory = historyDirectory(),
): Promise<Verifications> {
  const last = new Map<string, VerifyRecord>();
  for (const job of new Set(jobs)) {
    const file = historyFile(job, directory);
    for (const line of `${await textOf(`${file}.1`)}\n${await textOf(file)}`.split('\n')) {
      const record = parseLine(line);
      if (record !== undefined) last.set(keyOf(record), record);
    }
  }
  return (backup) => last.get(keyOf({ ...backup, target: targetName(targetOf(backup)) }));
}
