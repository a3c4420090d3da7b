import { readdir, realpath, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { makeDirectories } from '../../system/make-directories.js';
import { isWithin } from '../../system/mountinfo.js';
import { probeKeeping, type NotKept } from '../../system/probe-keeping.js';
import { requireAnswer } from '../../system/probe-writable.js';
import { runCommand } from '../../system/run-command.js';
import { requireTrustedPath } from '../../system/trusted-path.js';
import { jobDirectory, type BackupRef } from '../backup/backup-layout.js';
import type { EngineName } from '../engine.js';

/** Where a restore goes. */
export interface DestinationRequest {
  /** Absolute. */
  destination: string;
  backup: BackupRef;
  engine: EngineName;
  /** Takes a destination that is not empty. */
  force: boolean;
}

/** A directory that can be restored to. */
export interface PreparedDestination {
  /** Free of symlinks. */
  directory: string;
  /** There is nothing in it. */
  isEmpty: boolean;
  /** Owners and modes are not kept there, and nobody is told so. */
  losesRights: boolean;
  /** Removes what was made of it, as far as there is nothing in it. Never rejects. */
  removeEmpty: () => Promise<void>;
}

function usage(message: string, hint: string, cause?: unknown): FsbackupError {
  return new FsbackupError('usage', message, { hint, cause });
}

function noDirectory(destination: string): FsbackupError {
  return usage(`${destination} is not a directory`, 'Choose another directory to restore to.');
}

/** Of a fresh ext4. */
const COUNTS_AS_EMPTY = 'lost+found';

/** `made`: the uppermost of the directories that were made; undefined: none was. */
async function removeMade(directory: string, made: string | undefined): Promise<void> {
  if (made === undefined) return;
  try {
    for (let each = directory; isWithin(each, made); each = path.dirname(each)) await rmdir(each);
  } catch {
    // There is something in it.
  }
}

async function ensureDirectory(
  destination: string,
): Promise<Pick<PreparedDestination, 'directory' | 'removeEmpty'>> {
  try {
    // 0700: what a private backup holds is not for everybody.
    const made = await makeDirectories(destination, 0o700);
    if ((await stat(destination)).isDirectory())
      return {
        directory: await realpath(destination),
        removeEmpty: () => removeMade(destination, made),
      };
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (errno !== 'EEXIST' && errno !== 'ENOTDIR') {
      throw usage(
        `${destination} cannot be made (${errno})`,
        'Choose another directory to restore to.',
        error,
      );
    }
  }
  throw noDirectory(destination);
}

/**
 * Root writes below it for minutes, by names: whoever may put a symlink among them has root write elsewhere. Of what is
 * not there yet, before it is made and after.
 */
async function requireTrustedDestination(destination: string): Promise<void> {
  await requireTrustedPath(destination, {
    what: 'the destination',
    why: 'Whoever may change it while root restores to it can have root write elsewhere.',
    otherwise: 'or restore below a directory that root alone may enter (chmod 700), and move it from there',
  });
}

/**
 * tar does not undo what a directory's default ACL adds to everything that is made in it: files would be open to
 * others than before. `ls` marks a directory that has any ACL with a `+`.
 */
async function refuseAcl(destination: string): Promise<void> {
  const result = await runCommand(['ls', '-ld', '--', destination], { timeoutMs: 30_000 });
  if (!/^d\S{9}\+/.test(result.stdout)) return;
  throw usage(
    `${destination} has an ACL, which what is restored from a tar backup would inherit`,
    `Remove it (setfacl --remove-all ${destination}), or choose another directory.`,
  );
}

/**
 * Makes sure that a backup can be restored to a directory, which is made (0700) when it is not there. Rejects with `notFrozen` when its
 * filesystem is frozen or hangs, with `usage` when that folds names, when somebody else than root could change what it leads to, when it is no directory, not empty and `force` was not given, or part of the job's
 * backups.
 */
export async function prepareDestination(
  request: DestinationRequest,
  probe: (directory: string) => Promise<NotKept> = probeKeeping,
): Promise<PreparedDestination> {
  // Before whoever may write to a file is blamed for it.
  const facts = await stat(request.destination).catch(() => undefined);
  if (facts?.isDirectory() === false) throw noDirectory(request.destination);
  await requireTrustedDestination(request.destination);
  const { directory: destination, removeEmpty } = await ensureDirectory(request.destination);
  await requireTrustedDestination(request.destination);
  if (isWithin(destination, await realpath(jobDirectory(request.backup)))) {
    throw usage(
      `${request.destination} is inside the backups of ${request.backup.job}`,
      'Choose a directory outside of the target to restore to.',
    );
  }
  const names = (await readdir(destination)).filter((name) => name !== COUNTS_AS_EMPTY);
  if (names.length > 0 && !request.force) {
    throw usage(
      `${request.destination} is not empty`,
      'Restore to an empty directory, or say --force: files of the same name are then overwritten, and no other is touched.',
    );
  }
  if (request.engine === 'tar') await refuseAcl(destination);
  await requireAnswer(destination);
  const { foldsNames, losesRights } = await probe(destination);
  if (!foldsNames) return { directory: destination, isEmpty: names.length === 0, losesRights, removeEmpty };
  await removeEmpty();
  throw usage(
    `the filesystem of ${destination} does not tell names apart that differ by case, or by how Unicode writes them: of such files` +
      ' one alone would be restored',
    'Restore to a directory on ext4, XFS or btrfs, and copy from there what is wanted.',
  );
}
