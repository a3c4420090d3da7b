import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { exitCode } from '../exit-codes.js';
import type { Consistency } from '../snapshots/provider.js';
import { isWithin } from '../system/mountinfo.js';
import { dataDirectory } from './backup-layout.js';
import type { CompleteBackup } from './backup-list.js';
import type { CopyEngine, CopyProgress, CopyResult, EngineName } from './engine.js';
import { targetName, targetOf } from '../backup-target.js';
import { prepareDestination } from './restore-destination.js';

/** What a restore is asked for with. */
export interface RestoreOptions {
  backup: CompleteBackup;
  /** Absolute; `/srv/x` of the backup becomes `<destination>/srv/x`. */
  destination: string;
  /** Paths as they were on the live system; empty: everything. */
  paths: readonly string[];
  /** Takes a destination that is not empty: overwrites, never deletes. */
  force: boolean;
  /** The engine that wrote the backup. */
  engine: CopyEngine;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
  /** Runs the work itself, once all was checked: to show it as a step. */
  asStep: (work: () => Promise<CopyResult>) => Promise<CopyResult>;
}

/** The object that `restore --json` prints: stable. Times RFC 3339. */
export interface RestoreReport {
  version: 1;
  job: string;
  backupId: string;
  target: string;
  engine: EngineName;
  /** When the backup was completed, and what it is worth. */
  completedAt: string;
  consistency: Consistency;
  destination: string;
  /** What was asked for; empty: everything. */
  paths: string[];
  outcome: 'success' | 'warnings' | 'partial';
  exitCode: number;
  files: number;
  bytes: number;
  /** The first 100 of what could not be restored. */
  notRestored: string[];
  /** The first 100 of what could not be read when the backup was made, as far as it was asked for. */
  notInBackup: string[];
}

function normalise(wanted: string, sources: readonly string[]): string {
  const given = path.isAbsolute(wanted) ? path.normalize(wanted).replace(/(?<=.)\/$/, '') : undefined;
  const isHeld = (one: string): boolean =>
    sources.some((source) => isWithin(one, source) || isWithin(source, one));
  if (given !== undefined && isHeld(given)) return given;
  throw new FsbackupError('usage', `${wanted} is not in the backup, which holds ${sources.join(', ')}`, {
    hint: 'Name paths as they were on the live system, such as /srv/www/index.html.',
  });
}

/** `/` is everything, and so is a directory above all sources. */
function normalisePaths(paths: readonly string[], sources: readonly string[]): string[] {
  const wanted = paths.map((one) => normalise(one, sources));
  return wanted.some((one) => sources.every((source) => isWithin(source, one))) ? [] : wanted;
}

/** What a restore came to. */
export function reportRestore(
  { backup }: Pick<RestoreOptions, 'backup'>,
  { destination, paths }: { destination: string; paths: string[] },
  result: CopyResult,
): RestoreReport {
  const { manifest } = backup;
  const asked = paths.length === 0 ? ['/'] : paths;
  const notInBackup = manifest.unreadable.filter((lost) => asked.some((one) => isWithin(lost, one)));
  const outcome = result.unreadable.length > 0 ? 'partial' : notInBackup.length > 0 ? 'warnings' : 'success';
  return {
    version: 1,
    job: backup.job,
    backupId: backup.backupId,
    target: targetName(targetOf(backup)),
    engine: manifest.engine,
    completedAt: manifest.completedAt,
    consistency: manifest.report.consistency,
    destination,
    paths,
    outcome,
    exitCode: exitCode(outcome === 'partial' ? 'copyPartial' : outcome === 'warnings' ? 'warnings' : 'ok'),
    files: result.files,
    bytes: result.bytes,
    notRestored: [...result.unreadable],
    notInBackup,
  };
}

/**
 * Restores a backup, or some paths of it. Rejects with `usage` before anything is written when it cannot be done as
 * asked, with `copyFailed` when it broke off, with the signal's reason when it was aborted; resolves, `partial` (exit 41), when single files could not be restored.
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { backup, engine, signal } = options;
  const { manifest } = backup;
  const paths = normalisePaths(options.paths, manifest.sources);
  await engine.preflight();
  const destination = await prepareDestination({ ...options, engine: manifest.engine });
  const totals = paths.length === 0 ? { totalBytes: manifest.bytes, totalFiles: manifest.files } : {};

  let result: CopyResult;
  try {
    result = await options.asStep(() =>
      engine.restore({
        dataDirectory: dataDirectory(backup),
        sources: manifest.sources,
        destination,
        paths,
        signal,
        onProgress: (progress) => options.onProgress({ ...progress, ...totals }),
      }),
    );
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  return reportRestore(options, { destination, paths }, result);
}
