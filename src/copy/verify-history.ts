import { readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf } from '../errors.js';
import { appendDurably } from '../journal/durable-file.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';
import type { BackupRef } from './backup-layout.js';
import { targetName, targetOf, type BackupTarget, type RepositorySettings } from '../backup-target.js';

const recordSchema = z.object({
  version: z.literal(1),
  /** As people know it: the directory, or the repository. */
  target: z.string(),
  job: z.string(),
  backupId: z.string(),
  mode: z.enum(['quick', 'full', 'drill']),
  /** `unproven`: nothing wrong was found, and not all could be compared. */
  outcome: z.enum(['ok', 'unproven', 'failed']),
  finishedAt: z.iso.datetime(),
});

/** One verification, as the history keeps it. */
export type VerifyRecord = z.infer<typeof recordSchema>;

type Mode = VerifyRecord['mode'];
type InTarget = BackupRef & { repository?: RepositorySettings };

/**
 * The modes that look at all that this one looked at. A full verify sees whatever a quick one does, and no drill sees it
 * all: what it restored may be right beside a list that is damaged. What a drill found, a command that fails on what was
 * restored for one, only a drill sees again.
 */
const AS_STRONG: Readonly<Record<Mode, readonly Mode[]>> = {
  quick: ['quick', 'full'],
  full: ['full'],
  drill: ['drill'],
};

/** A job's history is put aside at this size; the one before it is dropped, but for failures that stand. */
const ROTATE_BYTES = 4 * 1024 * 1024;

/** What the history tells of the backups of some jobs. */
export interface Verifications {
  /** What counts of a backup: the last failure that stands, else the last verification. */
  of(backup: InTarget): VerifyRecord | undefined;
  /** The failures that stand in a target, in their order; of backups too that are not there any more. */
  failures(target: BackupTarget, job: string): VerifyRecord[];
  /** The backups of which, after that record was made, every byte was compared and right: their ids. */
  provenSince(record: VerifyRecord): string[];
}

function keyOf({ target, job, backupId }: Pick<VerifyRecord, 'target' | 'job' | 'backupId'>): string {
  return JSON.stringify([target, job, backupId]);
}

/** Records in the order in which they were made. */
class Records implements Verifications {
  readonly #records: readonly VerifyRecord[];
  readonly #byBackup = new Map<string, VerifyRecord[]>();
  #allStanding: readonly VerifyRecord[] | undefined;

  constructor(records: readonly VerifyRecord[]) {
    this.#records = records;
    for (const record of records) {
      const key = keyOf(record);
      const known = this.#byBackup.get(key);
      if (known === undefined) this.#byBackup.set(key, [record]);
      else known.push(record);
    }
  }

  /** Of one backup. A failure stands until what looks at no less finds nothing wrong. */
  #standing(records: readonly VerifyRecord[]): VerifyRecord[] {
    const last = new Map(records.map((record) => [record.mode, record]));
    return [...last.values()].filter((record) => {
      if (record.outcome !== 'failed') return false;
      const since = records.slice(records.indexOf(record) + 1);
      return !since.some(
        ({ mode, outcome }) => outcome !== 'failed' && AS_STRONG[record.mode].includes(mode),
      );
    });
  }

  /** In their order. */
  standing(): readonly VerifyRecord[] {
    return (this.#allStanding ??= this.#findStanding());
  }

  #findStanding(): VerifyRecord[] {
    const standing = new Set([...this.#byBackup.values()].flatMap((records) => this.#standing(records)));
    return this.#records.filter((record) => standing.has(record));
  }

  of(backup: InTarget): VerifyRecord | undefined {
    const records = this.#byBackup.get(keyOf({ ...backup, target: targetName(targetOf(backup)) })) ?? [];
    const failed = new Set(this.#standing(records));
    return records.findLast((record) => failed.has(record)) ?? records.at(-1);
  }

  failures(target: BackupTarget, job: string): VerifyRecord[] {
    const name = targetName(target);
    return this.standing().filter((record) => record.target === name && record.job === job);
  }

  provenSince(record: VerifyRecord): string[] {
    return this.#records
      .slice(this.#records.indexOf(record) + 1)
      .filter(({ target, job }) => target === record.target && job === record.job)
      .filter(({ mode, outcome }) => mode === 'full' && outcome === 'ok')
      .map(({ backupId }) => backupId);
  }
}

/** What records come to, the oldest first. Pure. */
export function verificationsFrom(records: readonly VerifyRecord[]): Verifications {
  return new Records(records);
}

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

/** How each line begins. */
const START = '{"version":1,';

function parseLine(line: string): VerifyRecord | undefined {
  try {
    // What a crash tore has no end: versions that did not look for that put the next record behind it.
    return recordSchema.safeParse(JSON.parse(line.slice(Math.max(0, line.lastIndexOf(START))))).data;
  } catch {
    return undefined;
  }
}

async function recordsIn(file: string): Promise<VerifyRecord[]> {
  const text = `${await textOf(`${file}.1`)}\n${await textOf(file)}`;
  return text.split('\n').flatMap((line) => parseLine(line) ?? []);
}

function linesOf(records: readonly VerifyRecord[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

/**
 * Puts a history aside. What stands in it, and in the one that is dropped, is written once more before, so that a backup
 * does not become good because much else was verified since; a crash in between leaves it there twice.
 */
async function rotate(file: string): Promise<void> {
  const standing = new Records(await recordsIn(file)).standing();
  await appendDurably(file, linesOf(standing));
  await rename(file, `${file}.1`);
}

/** Adds a verification to the history of its job. Rejects with the system's error. */
export async function recordVerification(
  record: VerifyRecord,
  directory = historyDirectory(),
  rotateBytes = ROTATE_BYTES,
): Promise<void> {
  await ensurePrivateDirectory(directory);
  const file = historyFile(record.job, directory);
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size >= rotateBytes) await rotate(file);
  await appendDurably(file, linesOf([record]));
}

/** Reads what the history tells of the backups of these jobs. Lines that cannot be read are passed over. */
export async function readVerifications(
  jobs: Iterable<string>,
  directory = historyDirectory(),
): Promise<Verifications> {
  const records: VerifyRecord[] = [];
  for (const job of new Set(jobs)) records.push(...(await recordsIn(historyFile(job, directory))));
  return verificationsFrom(records);
}
