import { localRepository, targetName, type BackupTarget } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';
import type { FilesystemFacts } from '../../snapshots/provider.js';
import { exists } from '../../system/exists.js';
import { readFilesystemFacts } from '../../system/filesystem-facts.js';
import { identifyFilesystem, type FilesystemIdentity } from '../../system/filesystem-identity.js';
import { requireSameFilesystem, whyAnotherFilesystem } from './target-identity.js';
import { shellWord } from '../../system/command-line.js';

/** A target directory, as it is configured. */
export interface ConfiguredDirectory {
  path: string;
  mustBeMountpoint: boolean;
}

/** Where a target directory is. */
export interface LocatedTarget {
  /** Without symlinks. */
  resolved: string;
  filesystem: FilesystemFacts;
  identity: FilesystemIdentity;
}

/**
 * Finds a target directory: it is there, a mountpoint where it must be one, and on the filesystem that these jobs wrote to
 * before. Writes nothing. Rejects with `usage`.
 */
export async function locateTarget(
  target: ConfiguredDirectory,
  jobs: readonly string[],
  stateDirectory?: string,
): Promise<LocatedTarget> {
  const { path: resolved, filesystem } = await readFilesystemFacts(target.path);
  if (target.mustBeMountpoint && filesystem.mount.mountpoint !== resolved) {
    throw new FsbackupError('usage', `${target.path} is not a mountpoint: nothing is mounted there`, {
      hint: `Mount the backup disk: mount ${shellWord(target.path)}`,
    });
  }
  const identity = await identifyFilesystem(resolved, filesystem);
  for (const job of jobs) await requireSameFilesystem({ job, target: target.path }, identity, stateDirectory);
  return { resolved, filesystem, identity };
}

/**
 * Why a configured target is not there, as far as this host can tell without asking a repository; undefined when it is:
 * what is listed of it then is not all, or not what is there.
 */
export async function whyAbsent(
  target: BackupTarget & ConfiguredDirectory,
  jobs: readonly string[],
): Promise<FsbackupError | undefined> {
  try {
    if (target.repository === undefined) await locateTarget(target, jobs);
    const local = localRepository(target);
    if (local === undefined || (await exists(local))) return undefined;
    return new FsbackupError('usage', `the repository ${targetName(target)} is not there`, {
      hint: 'Mount the disk that it lies on. What is known of it here comes from the catalogue of this host.',
    });
  } catch (error) {
    if (error instanceof FsbackupError) return error;
    throw error;
  }
}

/**
 * Why a directory that somebody names is not the target that jobs wrote to before: its disk is not mounted, say. Undefined
 * where it is, where nothing is known of it, and where it cannot be looked at, which who reads it tells.
 */
export async function whyAnotherTarget(
  directory: string,
  job: string | undefined,
): Promise<FsbackupError | undefined> {
  try {
    const { path: resolved, filesystem } = await readFilesystemFacts(directory);
    return await whyAnotherFilesystem(directory, await identifyFilesystem(resolved, filesystem), job);
  } catch (error) {
    if (error instanceof FsbackupError) return undefined;
    throw error;
  }
}
