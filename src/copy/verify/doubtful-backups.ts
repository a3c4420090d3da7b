import { targetOf } from '../../backup-target.js';
import { sharedBy } from '../../engine-names.js';
import { begunAt } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import { neededBackups } from '../backup/needed-backups.js';
import type { Verifications, VerifyRecord } from './verify-history.js';

/**
 * The failed verification that makes what is stored of a backup doubtful, its own or another's; undefined: there is
 * none. Pure.
 *
 * Backups of a job share what did not change, so what is bad in one may be bad in all that were begun before that was
 * seen, older ones too: until they are proven, by a full verify that came later. What was begun after it was made with
 * that known. A repository stores nothing twice, whoever knows what: there the doubt stays until the one that failed, or
 * a later one, is proven.
 *
 * @param needed the ids of the backups that it cannot be restored without
 */
export function doubtOf(
  backup: CompleteBackup,
  needed: readonly string[],
  verifications: Verifications,
): VerifyRecord | undefined {
  const { backupId, job, manifest } = backup;
  const shares = sharedBy(manifest.engine);
  if (shares === undefined) return undefined;
  const begun = begunAt(backupId).getTime();
  return verifications.failures(targetOf(backup), job).findLast((failure) => {
    // An id of digits that are no date proves nothing.
    const isMeant =
      shares === 'repository' ||
      failure.backupId === backupId ||
      needed.includes(failure.backupId) ||
      !(begun > new Date(failure.finishedAt).getTime());
    if (!isMeant || (shares === 'repository' && verifications.isLaterProvenSince(failure))) return false;
    return !verifications.isProvenSince(failure, backupId);
  });
}

/** Of a failure, as people are told: a clause without its subject. */
export function failedClause({ mode, finishedAt }: VerifyRecord): string {
  return `failed its ${mode === 'drill' ? 'drill' : `${mode} verify`} of ${finishedAt.slice(0, 10)}`;
}

/** The same with the backup. */
export function describeFailed(record: VerifyRecord): string {
  return `the backup ${record.backupId} ${failedClause(record)}`;
}

/** Why what a backup holds is not to be relied on, a clause. */
export interface Doubt {
  /** `bad`: it was found to be, or what it needs was. `shared`: it may share what was found bad in another. */
  kind: 'bad' | 'shared';
  why: string;
}

/** What speaks against restoring from a backup; undefined: nothing that is known here. */
export async function readDoubt(
  backup: CompleteBackup,
  verifications: Verifications,
): Promise<Doubt | undefined> {
  const own = verifications.of(backup);
  if (own?.outcome === 'failed') return { kind: 'bad', why: `it ${failedClause(own)}` };
  const { found, problems } = await neededBackups(backup);
  const [problem] = problems;
  if (problem !== undefined) return { kind: 'bad', why: problem };
  const failed = found
    .map((needed) => verifications.of(needed))
    .find((record) => record?.outcome === 'failed');
  if (failed !== undefined) return { kind: 'bad', why: `it needs what failed: ${describeFailed(failed)}` };
  const needed = found.map(({ backupId }) => backupId);
  const shared = doubtOf(backup, needed, verifications);
  if (shared === undefined) return undefined;
  return { kind: 'shared', why: `it may share what is bad in another: ${describeFailed(shared)}` };
}

/** Why nothing is to be made of what a backup stores without a look at it, a clause; undefined: it may be. */
export async function whyDoubtful(
  backup: CompleteBackup,
  verifications: Verifications,
): Promise<string | undefined> {
  const { found, problems } = await neededBackups(backup);
  const failed = doubtOf(
    backup,
    found.map(({ backupId }) => backupId),
    verifications,
  );
  if (failed !== undefined) return describeFailed(failed);
  const [problem] = problems;
  return problem === undefined ? undefined : `of the backup ${backup.backupId}, ${problem}`;
}
