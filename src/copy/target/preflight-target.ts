import { constants } from 'node:fs';
import { access, realpath } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import type { FilesystemFacts } from '../../snapshots/provider.js';
import type { FilesystemIdentity } from '../../system/filesystem-identity.js';
import { isWithin, mountOfPath, readMounts, type Mount } from '../../system/mountinfo.js';
import type { EngineName } from '../engine.js';
import { locateTarget } from './locate-target.js';
import { compileExcludes } from '../rsync-pattern.js';
import { requireRoom, sizeOfLastArchive } from './target-room.js';
import { requireTrustedJob } from './trusted-target.js';
import { shellWord } from '../../system/command-line.js';

/** A job's target, as a plan has it. */
export interface TargetToCheck {
  path: string;
  engine: EngineName;
  mustBeMountpoint: boolean;
}

/** A tree that will be copied. */
export interface SourceToCheck {
  path: string;
  exclude: readonly string[];
}

/** Where a directory lies on its filesystem, whatever it is mounted as: bind mounts have several names for it. */
interface Place {
  majorMinor: string;
  /** From the root of the filesystem. */
  path: string;
}

function placeOf(directory: string, mount: Mount): Place {
  return {
    majorMinor: mount.majorMinor,
    path: path.join(mount.root, path.relative(mount.mountpoint, directory)),
  };
}

async function placeOfPath(directory: string, mounts: readonly Mount[]): Promise<Place | undefined> {
  let resolved: string;
  try {
    resolved = await realpath(directory);
  } catch (error) {
    // A source that is not there is for others to say.
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
  const mount = mountOfPath(mounts, resolved);
  return mount === undefined ? undefined : placeOf(resolved, mount);
}

function isLeftOut(relative: string, exclude: readonly string[]): boolean {
  const matches = compileExcludes(exclude);
  const names = Buffer.from(relative, 'utf8').toString('latin1').split('/');
  return names.some((_, index) => matches(names.slice(0, index + 1).join('/'), true));
}

/** Throws `usage` when a backup would contain the backups, or be written over what it is made of. */
async function refuseOverlap(
  target: TargetToCheck,
  resolved: string,
  mount: Mount,
  sources: readonly SourceToCheck[],
): Promise<void> {
  const mounts = await readMounts();
  const place = placeOf(resolved, mount);
  for (const source of sources) {
    const other = await placeOfPath(source.path, mounts);
    // On a filesystem of its own, a target inside a source is not entered: `/` onto a disk mounted at /backup.
    if (other === undefined || other.majorMinor !== place.majorMinor) continue;
    const relative = path.relative(other.path, place.path);
    if (isWithin(place.path, other.path) && (relative === '' || !isLeftOut(relative, source.exclude))) {
      throw new FsbackupError('usage', `the target ${target.path} lies inside the source ${source.path}`, {
        hint: 'Choose a target elsewhere, best on another disk, or exclude it from the source.',
      });
    }
    if (relative !== '' && isWithin(other.path, place.path)) {
      throw new FsbackupError('usage', `the source ${source.path} lies inside the target ${target.path}`, {
        hint: 'Choose a target that holds nothing but backups.',
      });
    }
  }
}

async function refuseReadOnly(target: string, { mount }: FilesystemFacts): Promise<void> {
  let reason = mount.options.includes('ro') || mount.superOptions.includes('ro') ? 'EROFS' : undefined;
  try {
    await access(target, constants.W_OK | constants.X_OK);
  } catch (error) {
    reason ??= errnoOf(error) ?? 'unknown error';
  }
  if (reason === undefined) return;
  throw new FsbackupError('usage', `${target} cannot be written to (${reason})`, {
    hint:
      reason === 'EROFS'
        ? `Mount it read-write: mount -o remount,rw ${shellWord(mount.mountpoint)}; an error of the disk may have made it read-only.`
        : 'Run fsbackup as root, or choose another target.',
  });
}

/**
 * Looks, before any freeze, whether a job can be backed up into a target: nobody but root decides what it leads to, it
 * is there, is what the job wrote to before, a mountpoint where it must be one, writable, apart from the sources, and not full. Writes nothing. Returns
 * what the target's filesystem is, for `rememberFilesystem`. Rejects with `usage`.
 */
export async function preflightTarget(
  target: TargetToCheck,
  job: string,
  sources: readonly SourceToCheck[],
  stateDirectory?: string,
): Promise<FilesystemIdentity> {
  await requireTrustedJob({ target: target.path, job });
  const { resolved, filesystem, identity } = await locateTarget(target, [job], stateDirectory);
  await refuseReadOnly(resolved, filesystem);
  await refuseOverlap(target, resolved, filesystem.mount, sources);
  const { freeBytes, totalBytes } = filesystem;
  requireRoom({
    target: target.path,
    engine: target.engine,
    freeBytes,
    totalBytes,
    lastArchiveBytes: target.engine === 'tar' ? await sizeOfLastArchive(resolved, job) : undefined,
  });
  return identity;
}
