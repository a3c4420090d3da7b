import { targetName } from '../backup-target.js';
import type { CopySource } from '../copy/engine.js';
import { unprovenTrees } from '../copy/backup/tree-origins.js';
import { sharedBy } from '../engine-names.js';
import type { PlannedTarget } from '../plan/plan.js';
import type { RunContext } from './context.js';
import type { BackupSpace } from './dependencies.js';

/** Why a run reads more than the last one did, where its engine shares with the last backup by more than a proof. */
export function noteOtherOrigins(
  target: PlannedTarget,
  sources: readonly CopySource[],
  { parentBackupId, parentOrigins }: Pick<BackupSpace, 'parentBackupId' | 'parentOrigins'>,
  { plan, note }: Pick<RunContext, 'plan' | 'note'>,
): void {
  const shares = sharedBy(target.engine);
  if (parentBackupId === undefined || shares === undefined || shares === 'increments') return;
  const paths = [...unprovenTrees(sources, parentOrigins)];
  if (paths.length === 0) return;
  const last = `${plan.job}@${parentBackupId}`;
  const why =
    parentOrigins === undefined
      ? `${last} does not tell that it was made of the filesystems of this host`
      : `${paths.join(', ')} is another tree, or lies on another filesystem, than in ${last}`;
  note(`in ${targetName(target)}, ${why}: all files there were read, and their content compared`);
}
