import { readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf, FsbackupError } from '../errors.js';
import { writeDurably } from '../journal/durable-file.js';
import type { SourceFacts } from '../plan/facts.js';
import type { RunReport } from '../report/run-report.js';
import { shellWord } from '../system/command-line.js';
import { ensurePrivateDirectory, stateDirectory } from '../system/directories.js';
import { isWithin, readMounts } from '../system/mountinfo.js';

const recordSchema = z.object({
  version: z.literal(1),
  job: z.string(),
  /** Where the filesystems were mounted that the job's last backup was made of. */
  mountpoints: z.array(z.string()),
  recordedAt: z.string(),
});

/** Where it is kept on which mounts a job's sources lay. */
export function sourceMountsFile(job: string, directory = stateDirectory()): string {
  return path.join(directory, 'sources', `${encodeURIComponent(job)}.json`);
}

async function readMountpoints(file: string): Promise<string[]> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(file, 'utf8'))).mountpoints;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw new FsbackupError('usage', `${file} is damaged: whether all sources are mounted is not known`, {
      hint: `Check that they are, then remove ${shellWord(file)}; the next backup records it anew.`,
      cause: error,
    });
  }
}

/**
 * The mountpoint, of those that a backup was made of, whose filesystem held the source and is not there now: what is at
 * its place is a directory of the filesystem above. Pure.
 */
export function lostMount(
  { realPath, filesystem: { mount } }: Pick<SourceFacts, 'realPath' | 'filesystem'>,
  before: readonly string[],
): string | undefined {
  const now = mount.narrowedFrom ?? mount.mountpoint;
  return before.find((then) => then !== now && isWithin(realPath, then) && isWithin(then, now));
}

/**
 * Rejects with `usage` where a source lay on a mount of its own when the job's last backup was made, and does not now: an
 * empty directory is no new state of what it held, whose backups retention would remove for those of nothing.
 */
export async function requireSameMounts(
  job: string,
  source: Pick<SourceFacts, 'path' | 'realPath' | 'filesystem'>,
  directory?: string,
): Promise<void> {
  const file = sourceMountsFile(job, directory);
  const lost = lostMount(source, await readMountpoints(file));
  if (lost === undefined) return;
  const { narrowedFrom, mountpoint } = source.filesystem.mount;
  throw new FsbackupError(
    'usage',
    `${source.path} is not mounted: at the last backup of ${job} a filesystem was mounted at ${lost}, which now is a directory of ${narrowedFrom ?? mountpoint}`,
    {
      hint: `Mount what should be there. If what is there now is meant, remove ${shellWord(file)}; the next backup records it anew.`,
    },
  );
}

/** Records, of a run that made a backup, where what it was made of was mounted. Rejects with the system's error. */
export async function rememberMounts(
  { job, copies, sources }: Pick<RunReport, 'job' | 'copies' | 'sources'>,
  directory?: string,
): Promise<void> {
  if (copies.length === 0) return;
  // Of btrfs, what else a snapshot served may be the directory of a subvolume.
  const mounted = new Set((await readMounts()).map(({ mountpoint }) => mountpoint));
  const made = sources.flatMap(({ mountedAt, mountpoint, otherMountpoints = [] }) => [
    mountedAt ?? mountpoint,
    ...otherMountpoints.filter((other) => mounted.has(other)),
  ]);
  const mountpoints = [...new Set(made)].toSorted();
  const file = sourceMountsFile(job, directory);
  // What cannot be read now could not be read when the run began, which that would have refused.
  if (JSON.stringify(await readMountpoints(file)) === JSON.stringify(mountpoints)) return;
  await ensurePrivateDirectory(path.dirname(file));
  const record = { version: 1, job, mountpoints, recordedAt: new Date().toISOString() };
  await writeDurably(file, `${JSON.stringify(record, undefined, 2)}\n`);
}
