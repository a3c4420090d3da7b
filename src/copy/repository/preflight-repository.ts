import { hasCatalogue, openCatalogue } from './catalogue.js';
import type { CopyEngine } from '../engine.js';
import { readRepository } from './read-repository.js';
import { NoRepositoryError } from './open-repository.js';
import { refuseOtherProgram } from './whose-repository.js';
import { localRepository, targetName, type EngineTarget } from '../../backup-target.js';
import type { FilesystemIdentity } from '../../system/filesystem-identity.js';
import { rememberedBy, requireSameFilesystem, type TargetOfJob } from '../target/target-identity.js';
import { requireTrustedTarget } from '../target/trusted-target.js';

/** A repository that is to be looked at. */
export interface RepositoryToCheck {
  target: EngineTarget;
  job: string;
  engine: CopyEngine;
  stateDirectory?: string | undefined;
}

function ofJob({ target, job }: RepositoryToCheck): TargetOfJob {
  const directory = localRepository(target);
  const place = directory === undefined ? {} : { directory };
  return { job, target: target.path, ...place, name: targetName(target) };
}

async function identify(check: RepositoryToCheck, initialise: boolean): Promise<FilesystemIdentity> {
  const { engine, stateDirectory, target } = check;
  const where = target.repository?.repository ?? '';
  if (where.startsWith('/')) await requireTrustedTarget(where);
  await refuseOtherProgram(target);
  if (engine.openRepository === undefined) throw new Error(`${engine.name} has no repositories`);
  const value = await engine.openRepository({ initialise });
  const identity: FilesystemIdentity = { kind: 'repository', value, fstype: engine.name };
  await requireSameFilesystem(ofJob(check), identity, stateDirectory);
  return identity;
}

/** What to do about a repository that is missing where the job has written to it: certainly not to make one. */
async function withWayBack(check: RepositoryToCheck, error: unknown): Promise<unknown> {
  if (!(error instanceof NoRepositoryError)) return error;
  const job = await rememberedBy(ofJob(check), check.stateDirectory);
  if (job === undefined) return error;
  return new NoRepositoryError(error.code, error.message, {
    hint: `${job} has backups in it: mount the disk that it lies on, or correct its address. None is made in its place.`,
    cause: error,
  });
}

/** A disk that is not mounted must not turn into a new repository. */
async function mayBeMade(check: RepositoryToCheck): Promise<boolean> {
  const wanted = check.target.repository?.initialise === true;
  return wanted && (await rememberedBy(ofJob(check), check.stateDirectory)) === undefined;
}

/**
 * Looks whether a job could be backed up into a repository: it answers, and is the one that the job wrote to before.
 * `absent`: there is none yet, and the first run makes it, as `preflightRepository` does. Writes nothing. Rejects with
 * `usage`.
 */
export async function examineRepository(check: RepositoryToCheck): Promise<'there' | 'absent'> {
  try {
    await identify(check, false);
    return 'there';
  } catch (error) {
    if (error instanceof NoRepositoryError && (await mayBeMade(check))) return 'absent';
    throw await withWayBack(check, error);
  }
}

/**
 * As `examineRepository`, before any freeze. Makes the repository where the settings ask for that and no job has
 * written to one there before: a disk that is not mounted must not turn into a new repository. Opens the catalogue, and
 * notes what else a repository holds that has none here yet.
 * Returns what the repository is, for `rememberFilesystem`.
 */
export async function preflightRepository(check: RepositoryToCheck): Promise<FilesystemIdentity> {
  const { target, engine } = check;
  const isNew = !(await hasCatalogue(target));
  const stop = new AbortController();
  const { signal } = stop;
  // At the same time: what a program does first, to derive the key from the password, is most of what each question takes.
  const asked = isNew ? engine.find?.(signal).catch(() => undefined) : undefined;
  const identity = await identify(check, await mayBeMade(check)).catch(async (error: unknown) => {
    stop.abort();
    throw await withWayBack(check, error);
  });
  await openCatalogue(target);
  // Before the first backup of this host hides that there are others.
  if (isNew) {
    const reading = { engines: () => engine, signal, isNamed: false, onUnasked: () => undefined };
    await readRepository(target, { ...reading, ...(asked === undefined ? {} : { asked }) });
  }
  return identity;
}
