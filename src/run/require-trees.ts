import { realpath } from 'node:fs/promises';
import type { PlannedTree } from '../plan/plan.js';
import { inSnapshot } from '../snapshots/show-inside.js';
import { withPinnedDirectory } from '../system/pinned-directory.js';

/**
 * Looks, in the exposed snapshots, for the directory of each tree that is to be copied from one. A copy program follows a
 * symlink that stands in its place, and that of a snapshot leads to the live system. Snapshots do not change: once is
 * enough. `exposed` has the snapshots' directories, by source. Rejects with `snapshotFailed`.
 */
export async function requireTrees(
  trees: readonly Pick<PlannedTree, 'path' | 'source' | 'inside'>[],
  exposed: ReadonlyMap<number, string>,
): Promise<void> {
  for (const { path, source, inside } of trees) {
    const directory = exposed.get(source);
    if (directory === undefined || inside === '') continue;
    await withPinnedDirectory(await realpath(directory), (snapshot) =>
      inSnapshot(snapshot, { inside, called: path }, () => Promise.resolve()),
    );
  }
}
