import path from 'node:path';
import process from 'node:process';
import { FsbackupError } from '../../errors.js';
import { isWithin, mountOfPath, readMounts, type Mount } from '../../system/mountinfo.js';
import { withSealedView, type SealedMount } from '../../system/sealed-view.js';
import { visibleMounts } from '../../system/submounts.js';
import { isClosedToOthers } from '../../system/trusted-path.js';
import { shellWord } from '../../system/command-line.js';
import type { CopyEngine, RestoreRequest } from '../engine.js';
import { pathInBackup } from '../source-layout.js';

/** What a restore to a directory is of. */
export interface DestinationUse {
  /** Free of symlinks, and root's. */
  directory: string;
  /** There is nothing in it. */
  isEmpty: boolean;
  /** Of the backup. */
  sources: readonly string[];
  /** Live paths that may be restored. */
  wanted: readonly string[];
  engine: Pick<CopyEngine, 'name' | 'restoresInPlace' | 'restoresUnder'>;
}

/** Where an engine restores to: see `RestoreRequest`. */
export type Where = Pick<RestoreRequest, 'destination' | 'liveDestination' | 'under'>;

/** Pure. What is mounted in a destination, not at it, where something is restored to; a mount before those below it. */
export function mountsBelow(
  { directory, wanted }: Pick<DestinationUse, 'directory' | 'wanted'>,
  mounts: readonly Mount[],
): Mount[] {
  const places = wanted.map((live) => path.join(directory, pathInBackup(live)));
  return mounts
    .filter(({ mountpoint }) => mountpoint !== directory && isWithin(mountpoint, directory))
    .filter(({ mountpoint }) =>
      places.some((place) => isWithin(mountpoint, place) || isWithin(place, mountpoint)),
    )
    .toSorted((a, b) => a.mountpoint.length - b.mountpoint.length);
}

/** Pure. The destination, and what is mounted in it where something is restored to; a mount before those below it. */
export function mountsOfDestination(
  { directory, wanted }: Pick<DestinationUse, 'directory' | 'wanted'>,
  mounts: readonly Mount[],
): SealedMount[] {
  const own = mountOfPath(mounts, directory);
  if (own === undefined) throw new Error(`nothing is mounted above ${directory}`);
  const root = path.join(own.root, path.relative(own.mountpoint, directory));
  return [{ ...own, mountpoint: directory, root }, ...mountsBelow({ directory, wanted }, mounts)];
}

function closeIt(directory: string): string {
  return `Close it (chmod 700 ${shellWord(directory)}) or a directory above, with nobody left in it, and open it again afterwards`;
}

/**
 * Runs `use` with a way to a destination on which nobody leads root astray. What is restored belongs to users at once, who
 * may put symlinks among it while more is restored. Where root alone enters, none of them gets there. Else programs work
 * in a sealed view; and an engine that moves into place what it restored elsewhere walks through nothing of an empty
 * destination. Who is not root (`uid`) gives nothing away: what is restored is all that user's. Rejects with `usage`, before
 * anything is written, where none of these is so.
 */
export async function withSafeDestination<T>(
  { directory, isEmpty, sources, wanted, engine }: DestinationUse,
  use: (where: Where) => Promise<T>,
  uid = process.geteuid?.(),
): Promise<T> {
  if (uid !== 0) return await use({ destination: directory });
  const worksUnder = engine.restoresInPlace === true || engine.restoresUnder === true;
  // A program gives the destination itself the mode of `/` when it begins, which opens it.
  const isOpened = worksUnder && sources.includes('/');
  if (await isClosedToOthers(isOpened ? path.dirname(directory) : directory))
    return await use({ destination: directory });
  if (worksUnder) {
    const mounts = mountsOfDestination({ directory, wanted }, visibleMounts(await readMounts()));
    return await withSealedView(
      mounts,
      (view) =>
        use({
          destination: path.join(view.directory, directory),
          liveDestination: directory,
          under: view.under,
        }),
      isOpened
        ? 'Else restore below a directory that root alone may enter (chmod 700), and move it from there.'
        : `${closeIt(directory)}.`,
    );
  }
  if (isEmpty) return await use({ destination: directory });
  throw new FsbackupError(
    'usage',
    `${directory} is not empty, and others than root may enter it: who owns what lies in it can have root write elsewhere`,
    { hint: `${closeIt(directory)}; or restore to an empty directory, and move it from there.` },
  );
}
