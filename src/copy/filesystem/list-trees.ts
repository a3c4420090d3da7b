import path from 'node:path';
import type { runCommand } from '../../system/run-command.js';
import { isWithin } from '../../system/mountinfo.js';
import { pathFromBytes } from '../byte-path.js';
import { copyFailure, copyStopped } from '../copy-error.js';
import type { BackupEntry } from '../engine.js';
import { withMounts, type ReadableTree, type TreesToRestore } from './mounted-trees.js';
import { programRecords } from '../program-records.js';
import { parentsOf } from '../source-layout.js';

/** find(1): the type of each entry, a blank, where it lies below the directory. */
const FORMAT = String.raw`%y %P\0`;

async function* listTree(
  tree: ReadableTree,
  { trees, mounts }: Pick<TreesToRestore, 'trees' | 'mounts'>,
  signal: AbortSignal,
  run: typeof runCommand,
): AsyncGenerator<BackupEntry> {
  // They tell of what lies there themselves.
  const nested = trees.filter((other) => other !== tree && isWithin(other.path, tree.path));
  const argv = withMounts(mounts, ['find', tree.readFrom, '-xdev', '-mindepth', '1', '-printf', FORMAT]);
  const records = programRecords((options) => run(argv, options), {
    end: '\0',
    signal,
    check: (result) => {
      if (signal.aborted) throw copyStopped();
      if (result.exitCode !== 0) throw copyFailure('find', result);
    },
  });
  for await (const batch of records) {
    for (const record of batch) {
      const at = path.join(tree.path, pathFromBytes(record.slice(2)));
      if (!nested.some((inner) => isWithin(at, inner.path)))
        yield { path: at, isDirectory: record[0] === 'd' };
    }
  }
}

/**
 * All that the trees of a backup hold, as on the live system, the directories above them and they themselves first, and
 * each directory before what is in it. As a stream. Rejects with `copyFailed`, also where a part cannot be read.
 */
export async function* listTrees(
  opened: Pick<TreesToRestore, 'trees' | 'mounts'>,
  signal: AbortSignal,
  run: typeof runCommand,
): AsyncGenerator<BackupEntry> {
  const roots = opened.trees.map((tree) => tree.path);
  for (const directory of new Set(roots.flatMap((root) => [...parentsOf(root), root])))
    yield { path: directory, isDirectory: true };
  for (const tree of opened.trees) yield* listTree(tree, opened, signal, run);
}
