import { readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf } from '../../errors.js';
import { appendDurably } from '../../journal/durable-file.js';
import { ensurePrivateDirectory, stateDirectory } from '../../system/directories.js';
import { begunAt, isBackupId, type BackupRef } from '../backup/backup-layout.js';
import { placeOfTarget } from '../target/target-place.js';
import { targetName, targetOf, type BackupTarget, type RepositorySettings } from '../../backup-target.js';

const recordSchema = z.object({
  version: z.literal(1),
  /** As people know it: the directory, or the repository. */
  target: z.string(),
  /** What it is by any name, see `placeOfTarget`: a symlink to it, another mountpoint. */
  place: z.string().optional(),
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

/** What the history tells of the backups of some jobs. Each question costs no more than what it is about. */
export interface Verifications {
  /** What counts of a backup: the last failure that stands, else the last verification. */
  of(backup: InTarget): VerifyRecord | undefined;
  /** The failures that stand in a target, in their order; of backups too that are not there any more. */
  failures(target: BackupTarget, job: string): readonly VerifyRecord[];
  /** Whether, after that record was made, every byte of this backup was compared and right. */
  isProvenSince(record: VerifyRecord, backupId: string): boolean;
  /** The same of the record's own backup, or of any that was begun no earlier. */
  isLaterProvenSince(record: VerifyRecord): boolean;
}

/** What the same target is known by in two records: its name as it was written, or its place. */
function marksOf({ target, place }: Pick<VerifyRecord, 'target' | 'place'>): string[] {
  return [`name ${target}`, ...(place === undefined ? [] : [`place ${place}`])];
}

/** Of what is no id, NaN. */
function timeOf(backupId: string): number {
  return isBackupId(backupId) ? begunAt(backupId).getTime() : Number.NaN;
}

/** Of one backup, wherever it lies. A failure stands until what looks at no less finds nothing wrong in the same target. */
function standingOf(records: readonly VerifyRecord[]): VerifyRecord[] {
  const cleared = new Set<string>();
  const seen = new Set<string>();
  return records.toReversed().filter((record) => {
    const { mode, outcome } = record;
    const marks = marksOf(record);
    const isCleared = AS_STRONG[mode].some((strong) =>
      marks.some((mark) => cleared.has(`${strong} ${mark}`)),
    );
    // By each of its names a later one says the same.
    const isRepeated = marks.every((mark) => seen.has(`${mode} ${mark}`));
    for (const mark of marks) {
      seen.add(`${mode} ${mark}`);
      if (outcome !== 'failed') cleared.add(`${mode} ${mark}`);
    }
    return outcome === 'failed' && !isCleared && !isRepeated;
  });
}

function grouped<T>(items: readonly T[], keysOf: (item: T) => readonly string[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    for (const key of keysOf(item)) {
      const known = groups.get(key);
      if (known === undefined) groups.set(key, [item]);
      else known.push(item);
    }
  }
  return groups;
}

function keyOf({ job, backupId }: Pick<VerifyRecord, 'job' | 'backupId'>): string {
  return JSON.stringify([job, backupId]);
}

/** Records in the order in which they were made. */
class Records implements Verifications {
  readonly #places: ReadonlyMap<string, string>;
  readonly #byBackup: ReadonlyMap<string, readonly VerifyRecord[]>;
  readonly #order: ReadonlyMap<VerifyRecord, number>;
  /** In their order. */
  readonly standing: readonly VerifyRecord[];
  readonly #isStanding: ReadonlySet<VerifyRecord>;
  readonly #failures = new Map<string, readonly VerifyRecord[]>();
  /** By job and mark: when each backup was proven last. */
  readonly #proofs = new Map<string, Map<string, number>>();
  readonly #likes = new Map<VerifyRecord, readonly ReadonlyMap<string, number>[]>();
  readonly #laterProven = new Map<VerifyRecord, boolean>();

  constructor(records: readonly VerifyRecord[], places: ReadonlyMap<string, string>) {
    this.#places = places;
    this.#byBackup = grouped(records, (record) => [keyOf(record)]);
    this.#order = new Map(records.map((record, index) => [record, index]));
    this.#isStanding = new Set([...this.#byBackup.values()].flatMap(standingOf));
    this.standing = records.filter((record) => this.#isStanding.has(record));
    const isProof = ({ mode, outcome }: VerifyRecord): boolean => mode === 'full' && outcome === 'ok';
    const proofs = grouped(records.filter(isProof), (record) =>
      marksOf(record).map((mark) => `${record.job} ${mark}`),
    );
    for (const [key, found] of proofs)
      this.#proofs.set(key, new Map(found.map((record) => [record.backupId, this.#order.get(record) ?? -1])));
  }

  /** Those of a target, by whatever name it had then. */
  #in(name: string, records: readonly VerifyRecord[]): VerifyRecord[] {
    const place = this.#places.get(name);
    return records.filter(
      (record) => record.target === name || (place !== undefined && record.place === place),
    );
  }

  /** Of the target that a record is about, by each of its names. Asked for once for each backup. */
  #proofsLike(record: VerifyRecord): readonly ReadonlyMap<string, number>[] {
    const known = this.#likes.get(record);
    if (known !== undefined) return known;
    const found = marksOf(record).flatMap((mark) => this.#proofs.get(`${record.job} ${mark}`) ?? []);
    this.#likes.set(record, found);
    return found;
  }

  of(backup: InTarget): VerifyRecord | undefined {
    const records = this.#in(targetName(targetOf(backup)), this.#byBackup.get(keyOf(backup)) ?? []);
    return records.findLast((record) => this.#isStanding.has(record)) ?? records.at(-1);
  }

  failures(target: BackupTarget, job: string): readonly VerifyRecord[] {
    const name = targetName(target);
    const key = JSON.stringify([name, job]);
    const known = this.#failures.get(key);
    if (known !== undefined) return known;
    const found = this.#in(name, this.standing).filter((record) => record.job === job);
    this.#failures.set(key, found);
    return found;
  }

  isProvenSince(record: VerifyRecord, backupId: string): boolean {
    const since = this.#order.get(record) ?? -1;
    return this.#proofsLike(record).some((proofs) => (proofs.get(backupId) ?? -1) > since);
  }

  isLaterProvenSince(record: VerifyRecord): boolean {
    const known = this.#laterProven.get(record);
    if (known !== undefined) return known;
    const since = this.#order.get(record) ?? -1;
    const begun = timeOf(record.backupId);
    const isProven = this.#proofsLike(record).some((proofs) =>
      [...proofs].some(([id, at]) => at > since && timeOf(id) >= begun),
    );
    this.#laterProven.set(record, isProven);
    return isProven;
  }
}

/**
 * What records come to, the oldest first. Pure.
 *
 * @param places of the targets that will be asked about, by name: see `placeOfTarget`
 */
export function verificationsFrom(
  records: readonly VerifyRecord[],
  places: ReadonlyMap<string, string> = new Map(),
): Verifications {
  return new Records(records, places);
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
  const standing = new Records(await recordsIn(file), new Map()).standing;
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

async function placesOf(targets: Iterable<BackupTarget>): Promise<Map<string, string>> {
  const places = new Map<string, string>();
  for (const [name, target] of new Map([...targets].map((one) => [targetName(one), one]))) {
    const place = await placeOfTarget(target);
    if (place !== undefined) places.set(name, place);
  }
  return places;
}

/**
 * Reads what the history tells of the backups of these jobs in these targets; what was verified by another name of a target
 * counts, too. Lines that cannot be read are passed over.
 */
export async function readVerifications(
  jobs: Iterable<string>,
  targets: Iterable<BackupTarget>,
  directory = historyDirectory(),
): Promise<Verifications> {
  const records: VerifyRecord[] = [];
  for (const job of new Set(jobs)) records.push(...(await recordsIn(historyFile(job, directory))));
  const isPlaced = records.some(({ place }) => place !== undefined);
  return verificationsFrom(records, isPlaced ? await placesOf(targets) : new Map());
}
