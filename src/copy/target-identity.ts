import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf, FsbackupError } from '../errors.js';
import { writeDurably } from '../journal/durable-file.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';
import { filesystemIdentitySchema, type FilesystemIdentity } from '../system/filesystem-identity.js';

const recordSchema = z.object({
  version: z.literal(1),
  job: z.string(),
  target: z.string(),
  filesystem: filesystemIdentitySchema,
  recordedAt: z.string(),
});

/** A job's target, as configured. */
export interface TargetOfJob {
  job: string;
  /** The path of its directory. */
  target: string;
  /** As people know it; the directory when left out. */
  name?: string;
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

async function readIdentity(file: string): Promise<FilesystemIdentity | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw damaged(file, error);
  }
  try {
    return recordSchema.parse(JSON.parse(text)).filesystem;
  } catch (error) {
    throw damaged(file, error);
  }
}

/**
 * Rejects with `usage` when the job's target was on another filesystem at its first success: a disk that is not
 * mounted must not turn into backups on the root filesystem.
 */
export async function requireSameFilesystem(
  of: TargetOfJob,
  now: FilesystemIdentity,
  directory?: string,
): Promise<void> {
  const file = identityFile(of, directory);
  const then = await readIdentity(file);
  if (then === undefined || (then.kind === now.kind && then.value === now.value)) return;
  throw new FsbackupError(
    'usage',
    `${of.name ?? of.target} is not the ${now.kind === 'repository' ? 'repository' : 'filesystem'} it was: ${now.fstype} ${now.value} now, ${then.fstype} ${then.value} before`,
    {
      hint: `Mount the disk with the backups of ${of.job} there. If another ${now.kind === 'repository' ? 'repository' : 'disk'} is meant to take its place, remove ${file}.`,
    },
  );
}

/** Whether a job has had a success in a target. Rejects with `usage`. */
export async function isRemembered(of: TargetOfJob, directory?: string): Promise<boolean> {
  return (await readIdentity(identityFile(of, directory))) !== undefined;
}

/** Records, at a job's first success, which filesystem its target is on. Later calls change nothing. */
export async function rememberFilesystem(
  of: TargetOfJob,
  filesystem: FilesystemIdentity,
  directory?: string,
): Promise<void> {
  const file = identityFile(of, directory);
  if ((await readIdentity(file)) !== undefined) return;
  await ensurePrivateDirectory(path.dirname(file));
  const record = { version: 1, ...of, filesystem, recordedAt: new Date().toISOString() };
  await writeDurably(file, `${JSON.stringify(record, undefined, 2)}\n`);
}
