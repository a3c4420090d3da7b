import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { isWithin, mountOfPath, readMounts, type Mount } from '../../system/mountinfo.js';
import { requireWritable } from '../../system/probe-writable.js';
import { visibleMounts } from '../../system/submounts.js';
import { bytesOfPath } from '../byte-path.js';
import type { Manifest } from '../backup/manifest.js';
import { parentsOf, topmost } from '../source-layout.js';
import { shellWord } from '../../system/command-line.js';

/** A restore to where things were, checked. */
export interface InPlacePlan {
  /** Never empty; none lies in another. */
  paths: string[];
  /** Directories above them that are not there any more. */
  parents: string[];
  /** All that it writes to; a mount before those below it. */
  mounts: Mount[];
}

type Kind = 'directory' | 'symlink' | 'other' | 'absent';

const ELSEWHERE = 'Restore with --to DIR, and move from there what you want.';

function refuse(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

async function kindOf(file: string): Promise<Kind> {
  try {
    const facts = await lstat(bytesOfPath(file));
    if (facts.isSymbolicLink()) return 'symlink';
    return facts.isDirectory() ? 'directory' : 'other';
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return 'absent';
    throw error;
  }
}

/** The directories above `paths` must be that, and no symlink: they are not part of what is restored. */
async function findMissingParents(paths: readonly string[]): Promise<string[]> {
  const known = new Map<string, Kind>();
  for (const parent of paths.flatMap(parentsOf)) {
    if (known.has(parent)) continue;
    const above = known.get(path.dirname(parent));
    const kind = above === 'absent' ? 'absent' : await kindOf(parent);
    if (kind === 'symlink' || kind === 'other') {
      throw refuse(
        `${parent} is ${kind === 'symlink' ? 'a symlink' : 'not a directory'}, and a restore in place goes through none`,
        ELSEWHERE,
      );
    }
    known.set(parent, kind);
  }
  return [...known].filter(([, kind]) => kind === 'absent').map(([parent]) => parent);
}

async function refuseMovedSources(sources: readonly string[]): Promise<void> {
  for (const source of sources) {
    if ((await kindOf(source)) !== 'symlink') continue;
    throw refuse(`${source} is a symlink, and a restore in place goes through none`, ELSEWHERE);
  }
}

/** What was a filesystem of its own must not be restored into the directory that it is missing from. */
function refuseUnmounted(paths: readonly string[], manifest: Manifest, mounts: readonly Mount[]): void {
  for (const { mountpoint, mountedAt, fstype } of manifest.report.sources) {
    // What older versions reported of btrfs may be a subvolume, which need not be a mountpoint.
    if (mountedAt === undefined && fstype === 'btrfs') continue;
    const place = mountedAt ?? mountpoint;
    const isTouched = paths.some((one) => isWithin(one, mountpoint) || isWithin(mountpoint, one));
    if (!isTouched || mounts.some((mount) => mount.mountpoint === place)) continue;
    throw refuse(
      `${place} is not mounted, and was a filesystem of its own when it was backed up`,
      `Mount it (mount ${shellWord(place)}), or restore with --to DIR.`,
    );
  }
}

function mountsOf(paths: readonly string[], sources: readonly string[], mounts: readonly Mount[]): Mount[] {
  const byDirectory = new Map<string, Mount | undefined>();
  const found = new Set<Mount>();
  const add = (one: string): void => {
    const mount = mountOfPath(mounts, one);
    if (mount !== undefined) found.add(mount);
  };
  for (const one of paths) {
    const isMountpoint = mounts.some(({ mountpoint }) => mountpoint === one);
    const directory = path.dirname(one);
    if (isMountpoint || !byDirectory.has(directory)) add(one);
    byDirectory.set(directory, undefined);
  }
  // Of a source that is nested in one of them.
  for (const source of sources) if (paths.some((one) => isWithin(source, one))) add(source);
  return [...found].toSorted((a, b) => a.mountpoint.length - b.mountpoint.length);
}

/**
 * Looks whether paths of a backup (empty: all of it) can be restored to where they were, and writes nothing. Rejects
 * with `usage` when a directory above them is a symlink, when a filesystem that they were on is not mounted or is
 * read-only, with `notFrozen` when one is frozen.
 */
export async function planInPlace(selected: readonly string[], manifest: Manifest): Promise<InPlacePlan> {
  const paths = topmost(selected.length === 0 ? manifest.sources : selected);
  const mounts = visibleMounts(await readMounts());
  refuseUnmounted(paths, manifest, mounts);
  const parents = await findMissingParents(paths);
  await refuseMovedSources(manifest.sources.filter((source) => paths.some((one) => isWithin(source, one))));
  const written = mountsOf(paths, manifest.sources, mounts);
  for (const { mountpoint } of written) await requireWritable(mountpoint);
  return { paths, parents, mounts: written };
}
