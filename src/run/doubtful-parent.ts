import { targetName, type EngineTarget } from '../backup-target.js';
import { createBaseStore } from '../copy/filesystem/base-store.js';
import { latestComplete } from '../copy/backup/backup-list.js';
import { createBackupWriter } from '../copy/backup/backup-writer.js';
import { sharedBy } from '../engine-names.js';
import type { JobConfig } from '../config/types.js';
import type { PlannedTarget } from '../plan/plan.js';
import type { RunContext } from './context.js';
import { suggested } from '../system/command-line.js';

/** A backup that a new one would be made from, and why it is doubtful: see `BackupWriter.doubt`. */
interface Doubtful {
  job: string;
  backupId: string;
  doubt: string;
}

/** What that means for the new one, by what its engine shares: a warning, the same in a plan and in a report. */
export function describeDoubt(target: EngineTarget, { job, backupId, doubt }: Doubtful): string {
  const why = `in ${targetName(target)}, ${doubt}`;
  if (sharedBy(target.engine) === 'files')
    return `${why}: files are shared with it only once their content was compared, which reads all of both`;
  if (sharedBy(target.engine) === 'increments')
    return `${why}: a full backup is made, and no increment of ${backupId}`;
  return (
    `${why}: what its repository has already is not stored again, so a new backup may be as bad; see ` +
    `what ${target.engine} check says and repair it, then: ${suggested('backups verify', [job, '--full'])}`
  );
}

/**
 * Whether the last backup, which a new one shares with, is doubtful; what that means for the new one is a warning. Of an
 * engine that makes increments it is their base that counts: see `findBase`.
 */
export async function warnOfDoubt(
  target: PlannedTarget,
  parentBackupId: string | undefined,
  { plan, dependencies, warn }: RunContext,
): Promise<boolean> {
  const shares = sharedBy(target.engine);
  if (parentBackupId === undefined || shares === undefined || shares === 'increments') return false;
  const { job } = plan;
  const doubt = await dependencies.backups.doubt({ target, job, backupId: parentBackupId });
  if (doubt === undefined) return false;
  warn(describeDoubt(target, { job, backupId: parentBackupId, doubt }));
  return true;
}

/** The backup that a new one would be made from. */
async function madeFrom(target: EngineTarget, job: string): Promise<string | undefined> {
  if (sharedBy(target.engine) !== 'increments')
    return (await latestComplete(target.path, job, target.engine))?.backupId;
  const base = await createBaseStore().read(job, target.path);
  return base?.engine === target.engine ? base.backupId : undefined;
}

/** The warnings that a run of a job would begin with, for its plan. What cannot be looked at now is the run's to tell. */
export async function readDoubts({
  name: job,
  targets,
}: Pick<JobConfig, 'name' | 'targets'>): Promise<string[]> {
  const writer = createBackupWriter();
  const warnings: string[] = [];
  for (const target of targets) {
    try {
      const backupId = await madeFrom(target, job);
      const doubt = backupId === undefined ? undefined : await writer.doubt({ target, job, backupId });
      if (backupId !== undefined && doubt !== undefined)
        warnings.push(describeDoubt(target, { job, backupId, doubt }));
    } catch {
      // A disk that is not there, a record that is damaged.
    }
  }
  return warnings;
}
