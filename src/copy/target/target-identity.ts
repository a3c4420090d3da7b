import { createHash } from 'node:crypto';
import { readdir, readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf, FsbackupError } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { shellWord } from '../../system/command-line.js';
import { ensurePrivateDirectory, stateDirectory } from '../../system/directories.js';
import { filesystemIdentitySchema, type FilesystemIdentity } from '../../system/filesystem-identity.js';

const recordSchema = z.object({
  version: z.literal(1),
  job: z.string(),
  target: z.string(),
  /** Where that was, free of symlinks; of a repository on this host, its directory. Absent in older records. */
  directory: z.string().optional(),
  filesystem: filesystemIdentitySchema,
  recordedAt: z.string(),
});

/** A job's target, as configured. */
export interface TargetOfJob {
  job: string;
  /** The path of its directory. */
  target: string;
  /** Where it lies on this host, where that is not `target`: the directory of a repository. */
  directory?: string;
  /** As people know it; the directory when left out. */
  name?: string;
}

type IdentityRecord = z.infer<typeof recordSchema>;

/** A path free of symlinks, as far as it is there: what lies on a disk that is away is named as it is written. */
async function resolvedAsFar(written: string): Promise<string> {
  const resolved = await realpath(written).catch(() => undefined);
  const above = path.dirname(written);
  if (resolved !== undefined || above === written) return resolved ?? written;
  return path.join(await resolvedAsFar(above), path.basename(written));
}

/** Where a target's identity is kept. */
export function identityFile({ job, target }: TargetOfJob, directory = stateDirectory()): string {
  const hash = createHash('sha256').update(target).digest('hex').slice(0, 12);
  return path.join(directory, 'targets', `${job}-${hash}.json`);
}

function damaged(file: string, cause: unknown): FsbackupError {
  return new FsbackupError('usage', `${file} is damaged: which filesystem the target was is not known`, {
    hint: `Check that the right disk is mounted, then remove ${file}; the next run records it anew.`,
    cause,
  });
}

async function readRecord(file: string): Promise<IdentityRecord | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw damaged(file, error);
  }
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (error) {
    throw damaged(file, error);
  }
}

/** What was recorded of a target, and in which files. */
interface Recorded {
  files: string[];
  jobs: string[];
  filesystems: FilesystemIdentity[];
}

/**
 * What other jobs recorded of the same target, or this one by another spelling of its path. What is damaged is for its own job
 * to tell.
 */
async function recordedByOthers(
  of: TargetOfJob,
  isRepository: boolean,
  directory = stateDirectory(),
): Promise<Recorded> {
  const records = path.dirname(identityFile(of, directory));
  const names = await readdir(records).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  const place = await resolvedAsFar(of.directory ?? of.target);
  const found: Recorded = { files: [], jobs: [], filesystems: [] };
  for (const name of names.filter((one) => one.endsWith('.json')).toSorted()) {
    const file = path.join(records, name);
    const record = await readRecord(file).catch(() => undefined);
    if (record === undefined || (record.filesystem.kind === 'repository') !== isRepository) continue;
    const there = record.directory ?? (await resolvedAsFar(record.target));
    if (record.target !== of.target && there !== place) continue;
    found.files.push(file);
    found.jobs.push(record.job);
    found.filesystems.push(record.filesystem);
  }
  return found;
}

/** What counts of a target: what its job recorded, else what is known of it otherwise. */
async function recordedOf(of: TargetOfJob, isRepository: boolean, directory?: string): Promise<Recorded> {
  const file = identityFile(of, directory);
  const own = await readRecord(file);
  if (own !== undefined) return { files: [file], jobs: [own.job], filesystems: [own.filesystem] };
  return await recordedByOthers(of, isRepository, directory);
}

function another(
  { target, name = target }: Pick<TargetOfJob, 'target' | 'name'>,
  now: FilesystemIdentity,
  { files, filesystems }: Recorded,
  whose: string,
): FsbackupError | undefined {
  const [then] = filesystems;
  if (then === undefined || filesystems.some(({ kind, value }) => kind === now.kind && value === now.value))
    return undefined;
  const isRepository = now.kind === 'repository';
  return new FsbackupError(
    'usage',
    `${name} is not the ${isRepository ? 'repository' : 'filesystem'} it was: ${now.fstype} ${now.value} now, ${then.fstype} ${then.value} before`,
    {
      hint: `Mount the disk with the backups there. If another ${isRepository ? 'repository' : 'disk'} is meant for those of ${whose}, remove ${files.map(shellWord).join(' ')}.`,
    },
  );
}

/**
 * Why a directory that somebody names as a target is not what it was when a job, this one or any, last had a success there;
 * undefined where it is, and where nothing is known of it. Rejects with `usage` for a damaged record.
 */
export async function whyAnotherFilesystem(
  target: string,
  now: FilesystemIdentity,
  job: string | undefined,
): Promise<FsbackupError | undefined> {
  const of = { job: job ?? '', target };
  const recorded = job === undefined ? await recordedByOthers(of, false) : await recordedOf(of, false);
  return another(of, now, recorded, recorded.jobs.join(', '));
}

/**
 * Rejects with `usage` when the job's target was on another filesystem at its first success, or, before that, at those of
 * all other jobs there: a disk that is not mounted must not turn into backups on the root filesystem.
 */
export async function requireSameFilesystem(
  of: TargetOfJob,
  now: FilesystemIdentity,
  directory?: string,
): Promise<void> {
  const recorded = await recordedOf(of, now.kind === 'repository', directory);
  const error = another(of, now, recorded, of.job);
  if (error !== undefined) throw error;
}

/** A job that has had a success in a repository, this one if it has. Rejects with `usage`. */
export async function rememberedBy(of: TargetOfJob, directory?: string): Promise<string | undefined> {
  return (await recordedOf(of, true, directory)).jobs[0];
}

/** Records, at a job's first success, which filesystem its target is on. Later calls change nothing. */
export async function rememberFilesystem(
  { job, target, directory: written = target }: TargetOfJob,
  filesystem: FilesystemIdentity,
  directory?: string,
): Promise<void> {
  const file = identityFile({ job, target }, directory);
  if ((await readRecord(file)) !== undefined) return;
  await ensurePrivateDirectory(path.dirname(file));
  const record: IdentityRecord = {
    version: 1,
    job,
    target,
    directory: await resolvedAsFar(written),
    filesystem,
    recordedAt: new Date().toISOString(),
  };
  await writeDurably(file, `${JSON.stringify(record, undefined, 2)}\n`);
}
