import { openCatalogue } from './catalogue.js';
import type { CopyEngine } from './engine.js';
import { targetName, type EngineTarget } from '../backup-target.js';
import {
  isRemembered,
  requireSameFilesystem,
  type FilesystemIdentity,
  type TargetOfJob,
} from './target-identity.js';
import { requireTrustedTarget } from './trusted-target.js';

/** A repository that is to be looked at. */
export interface RepositoryToCheck {
  target: EngineTarget;
  job: string;
  engine: CopyEngine;
  stateDirectory?: string | undefined;
}

function ofJob({ target, job }: RepositoryToCheck): TargetOfJob {
  return { job, target: target.path, name: targetName(target) };
}

async function identify(check: RepositoryToCheck, initialise: boolean): Promise<FilesystemIdentity> {
  const { engine, stateDirectory, target } = check;
  const where = target.repository?.repository ?? '';
  if (where.startsWith('/')) await requireTrustedTarget(where);
  if (engine.openRepository === undefined) throw new Error(`${engine.name} has no repositories`);
  const value = await engine.openRepository({ initialise });
  const identity: FilesystemIdentity = { kind: 'repository', value, fstype: engine.name };
  await requireSameFilesystem(ofJob(check), identity, stateDirectory);
  return identity;
}

/**
 * Looks whether a job could be backed up into a repository: it answers, and is the one that the job wrote to before.
 * Writes nothing. Rejects with `usage`, for one that is yet to be made too.
 */
export async function examineRepository(check: RepositoryToCheck): Promise<void> {
  await identify(check, false);
}

/**
 * As `examineRepository`, before any freeze. Makes the repository where the settings ask for that and the job has
 * written to none there before: a disk that is not mounted must not turn into a new repository. Opens the catalogue.
 * Returns what the repository is, for `rememberFilesystem`.
 */
export async function preflightRepository(check: RepositoryToCheck): Promise<FilesystemIdentity> {
  const { target, stateDirectory } = check;
  const wanted = target.repository?.initialise === true;
  const initialise = wanted && !(await isRemembered(ofJob(check), stateDirectory));
  const identity = await identify(check, initialise);
  await openCatalogue(target);
  return identity;
}
