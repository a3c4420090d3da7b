import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf, FsbackupError } from '../../errors.js';
import { removeDurably, writeDurably } from '../../journal/durable-file.js';
import { snapshotRefSchema } from '../../journal/entry.js';
import { ensurePrivateDirectory, stateDirectory } from '../../system/directories.js';
import { ENGINE_NAMES } from '../../engine-names.js';

const recordSchema = z.object({
  version: z.literal(1),
  job: z.string().min(1),
  /** The path of the target's directory: of a repository, its catalogue. */
  target: z.string().min(1),
  engine: z.enum(ENGINE_NAMES),
  /** The backup that was made from these snapshots. */
  backupId: z.string().min(1),
  snapshots: z.array(z.object({ snapshot: snapshotRefSchema, identity: z.string() })),
  recordedAt: z.string(),
});

/** The base of one job in one target. That it is recorded is what keeps its snapshots: see decision 15. */
export type BaseRecord = z.infer<typeof recordSchema>;

/** The bases of this host. A record is changed by who holds the lock of its job. */
export interface BaseStore {
  read(job: string, target: string): Promise<BaseRecord | undefined>;
  /** All of them, or those of one job, by job and target. */
  list(job?: string): Promise<BaseRecord[]>;
  /** Durably and at once: from then on these snapshots are kept, and those of the record before are not. */
  write(record: Omit<BaseRecord, 'version' | 'recordedAt'>): Promise<void>;
  /** Idempotent. The snapshots themselves stay. */
  remove(job: string, target: string): Promise<void>;
  /**
   * Whether a record keeps the snapshot of this name, which a run of `job` made: no other job's record can. Rejects with
   * `cleanupIncomplete` when that cannot be told.
   */
  keeps(job: string, name: string): Promise<boolean>;
}

const SUFFIX = '.json';

function cannotTell(file: string, cause: unknown): FsbackupError {
  return new FsbackupError('cleanupIncomplete', `${file} is damaged: which snapshots are kept is not known`, {
    hint: `Remove ${file}: the next backup is then a full one, and its snapshot of before is to be removed by hand.`,
    cause,
  });
}

async function readRecord(file: string): Promise<BaseRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw cannotTell(file, error);
  }
}

/** Whether a file of that name is a record of that job, whose own name may look like the beginning of another's. */
function isOfJob(file: string, job: string): boolean {
  return file.startsWith(`${job}-`) && /^[0-9a-f]{12}\.json$/.test(file.slice(job.length + 1));
}

/**
 * The bases, a file for each in `<state directory>/bases`. All of it rejects with `cleanupIncomplete` for a damaged one,
 * of that job where one is named.
 */
export function createBaseStore(directory = path.join(stateDirectory(), 'bases')): BaseStore {
  const fileOf = (job: string, target: string): string => {
    const hash = createHash('sha256').update(target).digest('hex').slice(0, 12);
    return path.join(directory, `${job}-${hash}${SUFFIX}`);
  };
  const list = async (job?: string): Promise<BaseRecord[]> => {
    const names = await readdir(directory).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    });
    const files = names
      .filter((name) => (job === undefined ? name.endsWith(SUFFIX) : isOfJob(name, job)))
      .toSorted();
    const records = await Promise.all(files.map((name) => readRecord(path.join(directory, name))));
    return records.filter((record) => record !== undefined);
  };
  return {
    list,
    read: (job, target) => readRecord(fileOf(job, target)),
    async write(record) {
      await ensurePrivateDirectory(directory);
      const whole = { version: 1, ...record, recordedAt: new Date().toISOString() };
      await writeDurably(fileOf(record.job, record.target), `${JSON.stringify(whole, undefined, 2)}\n`);
    },
    remove: (job, target) => removeDurably(fileOf(job, target)),
    async keeps(job, name) {
      const records = await list(job);
      return records.some(({ snapshots }) => snapshots.some(({ snapshot }) => snapshot.name === name));
    },
  };
}
