import { FsbackupError } from '../../errors.js';
import { exitCode } from '../../exit-codes.js';
import type { Journal } from '../../journal/journal.js';
import type { Consistency } from '../../snapshots/provider.js';
import { describeTaken, firstTaken } from '../../report/instants.js';
import { isWithin } from '../../system/mountinfo.js';
import { withSealedView } from '../../system/sealed-view.js';
import { entriesOf } from '../backup/backup-entries.js';
import { dataDirectory } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type {
  BackupEntry,
  CopyEngine,
  CopyProgress,
  CopyResult,
  EngineName,
  RestoreRequest,
} from '../engine.js';
import { planInPlace } from './in-place.js';
import { sizeOf, totalsOf } from '../backup/manifest.js';
import { previewOverwrite, renderPreview } from './overwrite-preview.js';
import { targetName, targetOf } from '../../backup-target.js';
import { withPartLeft } from './part-left.js';
import { prepareDestination } from './restore-destination.js';
import { withSafeDestination } from './destination-view.js';
import { requireNotRemoved } from '../verify/verify-backup.js';
import { isPattern } from './path-pattern.js';
import { requireHeld } from './require-held.js';
import { selectPaths, type SelectedPaths } from './select-paths.js';
import { restoringTo, writtenFilesystems } from './written-filesystems.js';
import { suggested } from '../../system/command-line.js';

/** Asks whether to go on, with what a person needs to know to decide. */
export type Confirm = (text: string, signal: AbortSignal) => Promise<boolean>;

/** Where a restore goes. */
export type RestoreTo =
  | {
      /** Absolute; `/srv/x` of the backup becomes `<directory>/srv/x`. */
      directory: string;
      /** Takes a directory that is not empty: overwrites, never deletes. */
      force: boolean;
    }
  /** To where things were. `confirm` is asked once all was checked; undefined: nobody is. */
  | { inPlace: { confirm: Confirm | undefined } };

/** What a restore is asked for with. */
export interface RestoreOptions {
  backup: CompleteBackup;
  /** Why what it holds is not to be relied on; undefined: nothing speaks against it. */
  doubt?: string | undefined;
  to: RestoreTo;
  /** Paths and patterns, as they were on the live system; empty: everything. */
  paths: readonly string[];
  /** The engine that wrote the backup. */
  engine: CopyEngine;
  /** For what is made on the way. */
  journal: Journal;
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
  /** When the first of its snapshots was begun, which is what its data is of; null where it is of a live tree, or nobody knows. */
  snapshotStartedAt: string | null;
  consistency: Consistency;
  /** `/` in place. */
  destination: string;
  inPlace: boolean;
  /** What was asked for, patterns too; empty: everything. */
  paths: string[];
  /** How many entries the patterns matched; null without any. */
  matched: number | null;
  outcome: 'success' | 'warnings' | 'partial';
  exitCode: number;
  files: number;
  bytes: number;
  /** The first 100 of what could not be restored. */
  notRestored: string[];
  /** The first 100 of what could not be read when the backup was made, as far as it was asked for. */
  notInBackup: string[];
  /** What nobody could find out of what was restored. Absent when there is nothing. */
  warnings?: string[];
  /** What the run that made the backup warned of: a subvolume that is not in it, for one. Absent when it had nothing to. */
  backupWarnings?: string[];
  /** Why what the backup holds is not to be relied on: it, or what it may share something with, failed a verify. */
  doubt?: string;
}

type Entries = () => Promise<AsyncIterable<BackupEntry>>;
type Bring = (
  where: Pick<
    RestoreRequest,
    'destination' | 'liveDestination' | 'isEmpty' | 'paths' | 'choose' | 'parents' | 'under'
  >,
  /** On all filesystems that are written to. */
  written: readonly string[],
) => Promise<CopyResult>;

async function describePreview(
  backup: CompleteBackup,
  paths: readonly string[],
  entries: Entries,
): Promise<string> {
  return renderPreview(await previewOverwrite(await entries(), paths), {
    name: `${backup.job}@${backup.backupId}`,
    completedAt: backup.manifest.completedAt,
    taken: describeTaken(backup.manifest.report.sources),
    paths,
  });
}

async function restoreInPlace(
  selected: readonly string[],
  { backup, signal }: Pick<RestoreOptions, 'backup' | 'signal'>,
  confirm: Confirm | undefined,
  entries: Entries,
  bring: Bring,
): Promise<CopyResult> {
  const { paths, parents, mounts } = await planInPlace(selected, backup.manifest);
  return await withSealedView(mounts, async ({ directory, under }) => {
    if (confirm !== undefined && !(await confirm(await describePreview(backup, paths, entries), signal))) {
      throw new FsbackupError('failed', 'nothing was restored: it was not confirmed', {
        hint: 'Answer "yes", or restore with --to DIR, which overwrites nothing.',
      });
    }
    return await bring(
      { destination: directory, liveDestination: '/', paths, parents, under },
      mounts.map(({ mountpoint }) => mountpoint),
    );
  });
}

/** Where a restore went, and what of. */
export interface Restored {
  destination: string;
  inPlace: boolean;
  /** What was restored; empty: everything. */
  paths: readonly string[];
  /** What was asked for, patterns too. */
  asked: readonly string[];
  matched: number | null;
}

/** What a restore came to. */
export function reportRestore(
  { backup, doubt }: Pick<RestoreOptions, 'backup' | 'doubt'>,
  { destination, inPlace, paths, asked, matched }: Restored,
  result: CopyResult,
): RestoreReport {
  const { manifest } = backup;
  const wanted = paths.length === 0 ? ['/'] : paths;
  const notInBackup = manifest.unreadable.filter((lost) => wanted.some((one) => isWithin(lost, one)));
  const warnings = result.warnings ?? [];
  const isLess = notInBackup.length > 0 || doubt !== undefined || warnings.length > 0;
  const outcome = result.unreadable.length > 0 ? 'partial' : isLess ? 'warnings' : 'success';
  return {
    version: 1,
    job: backup.job,
    backupId: backup.backupId,
    target: targetName(targetOf(backup)),
    engine: manifest.engine,
    completedAt: manifest.completedAt,
    snapshotStartedAt: firstTaken(manifest.report.sources),
    consistency: manifest.report.consistency,
    destination,
    inPlace,
    paths: [...asked],
    matched,
    outcome,
    exitCode: exitCode(outcome === 'partial' ? 'copyPartial' : outcome === 'warnings' ? 'warnings' : 'ok'),
    files: result.files,
    bytes: result.bytes,
    notRestored: [...result.unreadable],
    notInBackup,
    ...(warnings.length === 0 ? {} : { warnings: [...warnings] }),
    // Of a success they are about the host, as it is on every run.
    ...(manifest.report.outcome === 'success' || manifest.report.warnings.length === 0
      ? {}
      : { backupWarnings: [...manifest.report.warnings] }),
    ...(doubt === undefined ? {} : { doubt }),
  };
}

/** Of all of a backup that lacks nothing, by an engine whose manifest counts files. */
function requireWhole(
  { manifest }: CompleteBackup,
  { choosesWhenOpen }: CopyEngine,
  { paths, result }: { paths: readonly string[]; result: CopyResult },
): void {
  const expected = sizeOf(manifest)?.files;
  const isAll = paths.length === 0 && manifest.unreadable.length + result.unreadable.length === 0;
  if (!isAll || expected === undefined || choosesWhenOpen === true || result.files === expected) return;
  throw new FsbackupError(
    'copyPartial',
    `${result.files} files were restored, and the manifest of the backup says ${expected}`,
    { hint: `See \`${suggested('backups verify', ['--full'])}\` for what the backup lacks.` },
  );
}

/** In the place of a path: it is of all of them. */
function notKeptIn(destination: string): string {
  return `(owners and modes: the filesystem of ${destination} takes them and does not keep them)`;
}

/**
 * Restores a backup, or some paths of it. Rejects with `usage` before anything is written when it cannot be done as
 * asked (a path that the backup is known not to have), with `notFrozen` when it would write to a frozen filesystem, with `copyFailed` when it broke off, or what it wrote may not be on disk, with the
 * signal's reason when it was aborted, with `failed` when the backup was removed meanwhile; resolves, `partial` (exit 41), when single files could not be restored.
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { backup, engine, signal, to } = options;
  const { manifest } = backup;
  // It would write to where the view is for others, and call that a success.
  if ('inPlace' in to && engine.restoresInPlace !== true) {
    throw new FsbackupError('usage', `${engine.name} cannot restore in place`, {
      hint: 'Restore to a directory on the same filesystem (--to DIR), see what came, and move it to its place.',
    });
  }
  const select = (entries: Entries): Promise<SelectedPaths> =>
    selectPaths(options.paths, manifest.sources, entries);
  const entries: Entries = async () => (await entriesOf(backup, engine, signal))();
  // What patterns mean is known when the backup is unpacked: of the paths beside them, what can be said now is.
  const isLate = engine.choosesWhenOpen === true && options.paths.some(isPattern);
  let { paths, matched } = isLate
    ? await selectPaths(
        options.paths.filter((one) => !isPattern(one)),
        manifest.sources,
        entries,
      )
    : await select(entries);
  if (engine.choosesWhenOpen !== true && !options.paths.every(isPattern))
    await requireHeld(paths, backup, { engine, signal });
  await engine.preflight();
  const totals = paths.length === 0 && !isLate ? totalsOf(manifest) : {};
  const choose: NonNullable<RestoreRequest['choose']> = async (opened) => {
    ({ paths, matched } = await select(async () => opened()));
    return paths;
  };
  const bring: Bring = (where, written) =>
    options.asStep(() =>
      restoringTo(written, () =>
        engine.restore({
          dataDirectory: dataDirectory(backup),
          sources: manifest.sources,
          notInBackup: manifest.unreadable,
          ...where,
          journal: options.journal,
          signal,
          onProgress: (progress) => options.onProgress({ ...progress, ...totals }),
        }),
      ),
    );

  let result: CopyResult;
  let destination = '/';
  let losesRights = false;
  try {
    if ('inPlace' in to) {
      result = await restoreInPlace(paths, options, to.inPlace.confirm, entries, bring);
    } else {
      const prepared = await prepareDestination({
        destination: to.directory,
        backup,
        engine: manifest.engine,
        force: to.force,
      });
      destination = prepared.directory;
      losesRights = prepared.losesRights;
      try {
        const { directory, isEmpty } = prepared;
        const wanted = isLate || paths.length === 0 ? manifest.sources : paths;
        const written = await writtenFilesystems({ directory, wanted });
        result = await withSafeDestination(
          { directory, isEmpty, sources: manifest.sources, wanted, engine },
          (where) => bring({ ...where, isEmpty, paths, ...(isLate ? { choose } : {}) }, written),
        );
      } catch (error) {
        // Where nothing came of it, it is as if it had not been asked for.
        await prepared.removeEmpty();
        throw await withPartLeft(prepared.directory, error);
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  // It is renamed before anything of it goes: what was restored before that is whole.
  await requireNotRemoved(backup, 'restored');
  requireWhole(backup, engine, { paths, result });
  if (losesRights) result = { ...result, unreadable: [...result.unreadable, notKeptIn(destination)] };
  return reportRestore(
    options,
    { destination, inPlace: 'inPlace' in to, paths, asked: options.paths, matched },
    result,
  );
}
