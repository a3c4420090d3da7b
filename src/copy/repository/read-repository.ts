import { mkdir, readdir, rm } from 'node:fs/promises';
import { foundDirectory, targetName, type EngineTarget } from '../../backup-target.js';
import { errnoOf } from '../../errors.js';
import { exists } from '../../system/exists.js';
import { backupDirectory, dataDirectory, type BackupRef } from '../backup/backup-layout.js';
import { isComplete, listBackups, type Backup } from '../backup/backup-list.js';
import { openCatalogue } from './catalogue.js';
import type { CopyEngine } from '../engine.js';
import type { EngineFor } from '../engines.js';
import type { FoundBackup } from './found-backup.js';
import { manifestOfFound } from './found-manifest.js';
import { readManifest, writeManifest } from '../backup/manifest.js';
import { removeTree } from '../remove-tree.js';

/** What reading a repository works with. */
export interface RepositoryReading {
  engines: EngineFor;
  signal: AbortSignal;
  /** Only the backups of this job matter. */
  job?: string | undefined;
  /** Somebody named the repository, and not only the configuration does. */
  isNamed: boolean;
  /** What it holds, where it has been asked already; undefined where that failed: it is asked again. */
  asked?: Promise<FoundBackup[] | undefined>;
  /** Is told why the repository could not be asked, where something of it is remembered all the same. */
  onUnasked: (why: unknown) => void;
  /** Is told that the catalogue answers, and the repository was not asked. */
  onCatalogue?: () => void;
}

async function backupsIn(directory: string): Promise<Backup[]> {
  return (await exists(directory)) ? await listBackups(directory) : [];
}

async function note(found: FoundBackup, ref: BackupRef, target: EngineTarget): Promise<void> {
  const data = dataDirectory(ref);
  await mkdir(data, { recursive: true, mode: 0o700 });
  // Always anew: the engine's ids change when somebody rewrites a repository.
  await found.writeReference(data);
  if ((await readManifest(ref)).state !== 'complete')
    await writeManifest(ref, manifestOfFound(found, target.engine, targetName(target)));
}

/** Makes `directory` the list of those that were found and the catalogue does not have. */
async function noteAll(all: readonly FoundBackup[], directory: string, target: EngineTarget): Promise<void> {
  const keyOf = ({ job, backupId }: Pick<BackupRef, 'job' | 'backupId'>): string => `${job}@${backupId}`;
  // An incomplete one of the catalogue too: a run is writing it, or died.
  const known = new Set((await backupsIn(target.path)).map(keyOf));
  const wanted = all.filter((found) => !known.has(keyOf(found)));
  const kept = new Set(wanted.map(keyOf));
  for (const backup of await backupsIn(directory)) {
    if (!kept.has(keyOf(backup))) await removeTree(backupDirectory(backup));
  }
  if (wanted.length === 0) {
    // A directory that is there says that there is something to look for.
    await rm(directory, { recursive: true, force: true });
    return;
  }
  await openCatalogue({ ...target, path: directory });
  for (const found of wanted) {
    const { job, backupId } = found;
    await note(found, { target: directory, job, backupId }, target);
  }
}

async function isWorthReading(
  { path: catalogue }: EngineTarget,
  directory: string,
  { job, isNamed }: RepositoryReading,
): Promise<{ isNeeded: boolean; hasOwn: boolean }> {
  const own = (await backupsIn(catalogue)).filter((one) => job === undefined || one.job === job);
  const hasOwn = own.some(isComplete);
  return { isNeeded: isNamed || !hasOwn || (await exists(directory)), hasOwn };
}

async function ask(engine: CopyEngine, signal: AbortSignal): Promise<FoundBackup[]> {
  await engine.preflight();
  return (await engine.find?.(signal)) ?? [];
}

/**
 * Asks a repository for the backups that its catalogue here does not have, and notes them in a directory that is read as
 * a catalogue is: the directory is returned, in a list that is empty where there are none. Asks where somebody named the
 * repository, where the catalogue has no backup (of the job), and where others were found before. Rejects as the engine
 * does when it cannot be read and nothing is known here; else `onUnasked` is told. Idempotent; touches no repository.
 */
export async function readRepository(target: EngineTarget, reading: RepositoryReading): Promise<string[]> {
  const engine = reading.engines(target);
  if (target.repository === undefined || engine.find === undefined) return [];
  const directory = foundDirectory(target.path);
  const { isNeeded, hasOwn } = await isWorthReading(target, directory, reading);
  if (!isNeeded) {
    reading.onCatalogue?.();
    return [];
  }
  try {
    await noteAll((await reading.asked) ?? (await ask(engine, reading.signal)), directory, target);
  } catch (error) {
    reading.signal.throwIfAborted();
    const hasFound = await exists(directory);
    if (!hasOwn && !hasFound) throw error;
    reading.onUnasked(error);
  }
  try {
    return (await readdir(directory)).length > 0 ? [directory] : [];
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
