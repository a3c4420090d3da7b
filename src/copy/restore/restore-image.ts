import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { isWithin } from '../../system/mountinfo.js';
import { dataDirectory, jobDirectory } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { CopyResult } from '../engine.js';
import { reportRestore, type RestoreOptions, type RestoreReport, type RestoreTo } from './restore-backup.js';
import { shellWord } from '../../system/command-line.js';

type ImageDestination = Exclude<RestoreTo, { inPlace: unknown }>;

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/** The one source whose filesystem is wanted. */
function sourceOf({ manifest }: CompleteBackup, paths: readonly string[]): string {
  const { sources } = manifest;
  const wanted = paths.length === 0 ? sources : sources.filter((source) => paths.includes(source));
  const [only, ...others] = wanted;
  if (only !== undefined && others.length === 0 && paths.length <= 1) return only;
  throw usage(
    `an image is of one source, and the backup holds ${sources.join(', ')}`,
    `Name the one that is meant: fsbackup restore … --image ${shellWord(sources[0] ?? '')}`,
  );
}

/** Rejects with `usage` for what must not be written over. */
async function checkDestination(
  { directory: destination, force }: ImageDestination,
  backup: CompleteBackup,
): Promise<void> {
  const there = await stat(destination).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there?.isDirectory() === true)
    throw usage(`${destination} is a directory`, 'With --image, name a block device, or a file in it.');
  if (there !== undefined && !there.isBlockDevice() && !there.isFile())
    throw usage(`${destination} is neither a file nor a block device`, 'Choose another one.');
  if (there !== undefined && !force) {
    throw usage(
      `${destination} is there, and all that it holds would be lost`,
      'Say --force if that is meant, or name a new file.',
    );
  }
  const parent = await realpath(path.dirname(destination)).catch((error: unknown) => {
    if (errnoOf(error) === undefined) throw error;
    throw usage(`${path.dirname(destination)} is not there`, 'Make the directory, or choose another one.');
  });
  if (isWithin(parent, await realpath(jobDirectory(backup))))
    throw usage(
      `${destination} is inside the backups of ${backup.job}`,
      'Choose a place outside of the target.',
    );
}

/**
 * Restores the filesystem of one source as it lay on its device, to a device or a file. As `restoreBackup` otherwise;
 * `paths` names the source, where there are several. Rejects with `usage` for a backup that holds no images.
 */
export async function restoreImage(options: RestoreOptions): Promise<RestoreReport> {
  const { backup, engine, signal, to } = options;
  if ('inPlace' in to) throw usage('an image is not restored in place', 'Name a device or a file with --to.');
  const destination = to.directory;
  if (engine.restoreImage === undefined) {
    throw usage(
      `${backup.job}@${backup.backupId} was made by ${engine.name}, which keeps files and no images`,
      'Leave --image out.',
    );
  }
  const source = sourceOf(backup, options.paths);
  await engine.preflight();
  await checkDestination(to, backup);
  let result: CopyResult;
  try {
    const request = { dataDirectory: dataDirectory(backup), source, destination, signal };
    const write = engine.restoreImage.bind(engine);
    result = await options.asStep(() => write({ ...request, onProgress: options.onProgress }));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  const where = { destination, inPlace: false, paths: [source], asked: options.paths, matched: null };
  return reportRestore(options, where, result);
}
