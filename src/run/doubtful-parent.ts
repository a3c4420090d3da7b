import { targetName } from '../backup-target.js';
import { sharedBy } from '../engine-names.js';
import type { PlannedTarget } from '../plan/plan.js';
import type { RunContext } from './context.js';

/** By what its engine shares: what becomes of a backup that is made after a bad one. */
function consequenceOf(target: PlannedTarget, job: string): string | undefined {
  switch (sharedBy(target.engine)) {
    case 'files':
      return 'files are shared with it only once their content was compared, which reads all of both';
    case 'repository':
      return (
        'what its repository has already is not stored again, so this one may be as bad; have ' +
        `${target.engine} check and repair it, then run: fsbackup backups verify ${job} --full`
      );
    // Of increments the base tells, which need not be the last backup.
    case 'increments':
    case undefined:
      return undefined;
  }
}

/** Whether the last backup, which a new one shares with, is doubtful; what that means for the new one is a warning. */
export async function warnOfDoubt(
  target: PlannedTarget,
  parentBackupId: string | undefined,
  { plan, dependencies, warn }: RunContext,
): Promise<boolean> {
  const consequence = consequenceOf(target, plan.job);
  if (parentBackupId === undefined || consequence === undefined) return false;
  const doubt = await dependencies.backups.doubt({ target, job: plan.job, backupId: parentBackupId });
  if (doubt === undefined) return false;
  warn(`in ${targetName(target)}, ${doubt}: ${consequence}`);
  return true;
}
