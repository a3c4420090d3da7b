import path from 'node:path';
import { runDirectory } from '../../system/directories.js';
import type { runCommand } from '../../system/run-command.js';
import { withCopyErrors } from '../copy-error.js';
import type { CopyRequest, CopyResult } from '../engine.js';
import { prepareMergedTree, type MergedTree } from './merged-tree.js';
import { requireSources } from '../source-layout.js';

/** What an engine with repositories works with beside the settings of its target. */
export interface RepositoryDependencies {
  run?: typeof runCommand;
  /** Where the sources are merged: below it a directory for each job, the same in every run. */
  treeDirectory?: string;
}

/** Sources as a program of a repository is to read them. */
export interface TreeOfJob {
  tree: MergedTree;
  /** Where it lies: the programs find unchanged files by their paths. */
  directory: string;
}

/** `CopyEngine.copy` by a program that keeps what it copies under the paths that it reads it at. */
export async function copyMerged(
  { sources, dataDirectory, backup, signal }: CopyRequest,
  treeDirectory: string | undefined,
  copy: (of: TreeOfJob) => Promise<CopyResult>,
): Promise<CopyResult> {
  return await withCopyErrors(async () => {
    await requireSources(sources);
    const directory = path.join(treeDirectory ?? path.join(runDirectory(), 'tree'), backup.job);
    const tree = await prepareMergedTree(directory, sources, { hold: dataDirectory, signal });
    try {
      return await copy({ tree, directory });
    } finally {
      await tree.remove();
    }
  });
}
