import path from 'node:path';
import type { runCommand } from '../../system/run-command.js';
import { checkTrees } from './check-trees.js';
import { withCopyErrors } from '../copy-error.js';
import type { CheckRestoredRequest, CopyResult, RestoreRequest, VerifyFindings } from '../engine.js';
import { listTrees } from './list-trees.js';
import { restoreTrees } from './mounted-trees.js';
import type { OpenTrees } from './opened-trees.js';
import { withStaging } from '../restore/restore-staging.js';

/** `CopyEngine.restore` for backups of whole filesystems. What must be unpacked is unpacked in the destination. */
export function restoreOpened(
  request: RestoreRequest,
  open: OpenTrees,
  run: typeof runCommand,
): Promise<CopyResult> {
  return withCopyErrors(() =>
    withStaging(request.liveDestination ?? request.destination, request.journal, (scratch) =>
      open({ ...request, scratch }, async (opened) => {
        const chosen = await request.choose?.(() => listTrees(opened, request.signal, run));
        const restored = await restoreTrees({ ...request, paths: chosen ?? request.paths }, opened, run);
        const { warnings = [] } = opened;
        return warnings.length === 0 ? restored : { ...restored, warnings };
      }),
    ),
  );
}

/** `CopyEngine.checkRestored` for them: the filesystems once more, their trees against what was restored. */
export function checkOpened(
  request: CheckRestoredRequest,
  open: OpenTrees,
  run: typeof runCommand,
): Promise<VerifyFindings> {
  return withCopyErrors(() =>
    open(request, async (opened) => {
      const problems = (await opened.check?.()) ?? [];
      const found = await checkTrees(opened, request, run);
      return { ...found, problems: [...problems, ...found.problems] };
    }),
  );
}

/** Where the trees of a backup are, once what each lies in is at `root(name)`. */
export function treesBelow<Tree extends { path: string; inside: string }>(
  trees: readonly Tree[],
  root: (tree: Tree) => string,
): { path: string; readFrom: string }[] {
  return trees.map((tree) => ({ path: tree.path, readFrom: path.join(root(tree), tree.inside) }));
}
