import path from 'node:path';
import type { SourceConfig } from '../config/types.js';
import { isExcluded } from '../plan/excludes.js';
import type { NestedTree } from '../plan/facts.js';
import { nestedSubvolumes } from '../snapshots/nested-subvolumes.js';
import { runDirectory } from '../system/directories.js';
import { isWithin, type Mount } from '../system/mountinfo.js';
import { submountsBelow } from '../system/submounts.js';

/** Something below a source, before it is known what can be done about it. */
export type FoundNested = Pick<NestedTree, 'kind' | 'path' | 'fstype'>;

/**
 * What lies below a tree and is an empty directory in a snapshot of its filesystem: mounts, and subvolumes of btrfs; also what
 * lies in those where all of them are to be copied (`recursive`). Left out: what the tree's patterns exclude. Sorted by path.
 */
export async function findNested(
  source: Pick<SourceConfig, 'exclude' | 'recursive'>,
  located: { path: string; mount: Mount },
  mounts: readonly Mount[],
): Promise<FoundNested[]> {
  const wanted = (where: string): boolean =>
    // Snapshots that runs of other jobs have mounted are no part of the tree.
    !isWithin(where, runDirectory()) && !isExcluded(source.exclude, path.relative(located.path, where));
  const submounts = submountsBelow(mounts, located.path).filter(({ mountpoint }) => wanted(mountpoint));
  const found = submounts.map(
    ({ mountpoint, fstype }) => ({ kind: 'submount', path: mountpoint, fstype }) as const,
  );
  const trees = [{ directory: located.path, mount: located.mount }];
  // What is left out needs no further look inside.
  if (source.recursive) trees.push(...submounts.map((mount) => ({ directory: mount.mountpoint, mount })));
  const subvolumes: FoundNested[] = [];
  for (const { directory, mount } of trees) {
    for (const where of await nestedSubvolumes(directory, mount)) {
      const isMounted = submounts.some(({ mountpoint }) => mountpoint === where);
      if (wanted(where) && !isMounted) {
        subvolumes.push({ kind: 'subvolume', path: where, fstype: mount.fstype });
      }
    }
  }
  return [...found, ...subvolumes].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
