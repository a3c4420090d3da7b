import type { BackupRef } from './backup-layout.js';
import type { CompleteBackup } from './backup-list.js';
import { readManifest } from './manifest.js';

/** What a backup needs to be restored, itself apart. */
export interface NeededBackups {
  /** Those that are there: what is needed by one comes before it. */
  found: CompleteBackup[];
  /** Why it cannot be restored: a sentence without its full stop for each that is not there, or not whole. */
  problems: string[];
}

/** The backups without which one cannot be restored, however indirectly, as the manifests tell. Never rejects for those. */
export async function neededBackups(backup: CompleteBackup): Promise<NeededBackups> {
  const found: CompleteBackup[] = [];
  const problems: string[] = [];
  const seen = new Set([backup.backupId]);
  const { target, job, repository } = backup;
  const visit = async ({ manifest }: CompleteBackup): Promise<void> => {
    for (const backupId of manifest.needs ?? []) {
      if (seen.has(backupId)) continue;
      seen.add(backupId);
      const ref: BackupRef = { target, job, backupId };
      const state = await readManifest(ref);
      if (state.state === 'complete') {
        const needed = { ...ref, ...(repository === undefined ? {} : { repository }), ...state };
        await visit(needed);
        found.push(needed);
      } else {
        const why = state.state === 'damaged' ? `is damaged: ${state.problem}` : 'is not there';
        problems.push(`it cannot be restored without the backup ${backupId}, which ${why}`);
      }
    }
  };
  await visit(backup);
  return { found, problems };
}

/**
 * The ids of all backups that a new one needs, which is made from `parents`: those and what they need, down to the full
 * ones. Each manifest tells all of it, so that one between that cannot be read hides nothing.
 */
export async function allNeeded(
  { target, job }: Pick<BackupRef, 'target' | 'job'>,
  parents: readonly string[],
): Promise<string[]> {
  const all = new Set(parents);
  // A Set goes on to what is added to it meanwhile.
  for (const backupId of all) {
    const state = await readManifest({ target, job, backupId });
    if (state.state === 'complete') for (const id of state.manifest.needs ?? []) all.add(id);
  }
  return [...all];
}
