import { FsbackupError } from '../../errors.js';
import { targetAt } from '../repository/catalogue.js';
import { isComplete, listBackups, listJobBackups, type Backup, type CompleteBackup } from './backup-list.js';
import { describeFuture, withoutFuture } from './future-backups.js';
import { describeForeign, preferOwn } from './host-backups.js';
import { targetName, targetOf } from '../../backup-target.js';
import { suggested } from '../../system/command-line.js';
import { thisHost } from '../../system/this-host.js';

const LIST_HINT = `\`${suggested('backups list')}\` shows what there is.`;

/** `JOB` or `JOB@WHICH`. A job's name has no `@`. */
export function parseSelector(selector: string): { job: string; which: string } {
  const at = selector.indexOf('@');
  return at === -1
    ? { job: selector, which: 'latest' }
    : { job: selector.slice(0, at), which: selector.slice(at + 1) };
}

function describe(backup: Backup): string {
  return `${backup.job}@${backup.backupId} in ${targetName(targetOf(backup))}`;
}

function requireComplete(backup: Backup): CompleteBackup {
  if (isComplete(backup)) return backup;
  const why =
    backup.state === 'damaged'
      ? `is damaged: ${backup.problem}`
      : 'is incomplete: it has no manifest, since the run that wrote it did not finish';
  throw new FsbackupError('usage', `${describe(backup)} ${why}`, {
    hint: `Choose another one; ${LIST_HINT}`,
  });
}

/** Ids begin with their date: `2026-11-20`, `2026-11-20T18:45` and `20261120` all name one by its beginning. */
function asIdPrefix(which: string): string {
  return which.replaceAll(/[-:](?=\d)/g, '');
}

function byBeginning(backups: readonly Backup[], which: string): Backup[] {
  const prefix = asIdPrefix(which);
  return backups.filter(
    ({ backupId }) => backupId.startsWith(which) || asIdPrefix(backupId).startsWith(prefix),
  );
}

/** The short form of an id: the letters and digits after its time, or the first of them. */
function byEnd(backups: readonly Backup[], which: string): Backup[] {
  if (!/^[0-9a-f]{3,16}$/.test(which)) return [];
  return backups.filter(({ backupId }) => backupId.slice(backupId.indexOf('-') + 1).startsWith(which));
}

function matching(backups: readonly Backup[], which: string): Backup[] {
  const exact = backups.filter((backup) => backup.backupId === which);
  if (exact.length > 0) return exact;
  const byDate = /^\d{4}/.test(which) ? byBeginning(backups, which) : [];
  const found = byDate.length > 0 ? byDate : byEnd(backups, which);
  // By a date, somebody means a backup that can be used.
  const complete = found.filter(isComplete);
  return complete.length > 0 ? complete : found;
}

/** Every run leaves one backup in each target of its job, all of one id: copies of each other. */
function idsOf(backups: readonly Backup[]): string[] {
  return [...new Set(backups.map(({ backupId }) => backupId))];
}

const NAMED_AT_MOST = 8;

function ambiguous(selector: string, ids: readonly string[]): FsbackupError {
  const more = ids.length - NAMED_AT_MOST;
  const named = [...ids.slice(0, NAMED_AT_MOST), ...(more > 0 ? [`${more} more`] : [])];
  return new FsbackupError('usage', `${selector} names ${ids.length} backups: ${named.join(', ')}`, {
    hint: `Write more of the id of the one that you mean; ${LIST_HINT}`,
  });
}

/**
 * Finds the one backup that `selector` names in `targets`: `JOB` or `JOB@latest` (the last complete one), `JOB@ID`,
 * or `JOB@` and the beginning of an id, a date in UTC (`2026-11-20`) or the end of an id (`1a2b3c`) that only one has. Its complete
 * copies, at least one, in the order of the targets. The last one is none that another host made, and none that is dated in the future, unless all are: `warn` is told. Rejects with `usage` when none or several have it, or when the one
 * is not complete.
 */
export async function findCopies(
  targets: readonly string[],
  selector: string,
  warn: (message: string) => void,
): Promise<[CompleteBackup, ...CompleteBackup[]]> {
  const { job, which } = parseSelector(selector);
  const lists = await Promise.all(targets.map((target) => listJobBackups(target, job)));
  const all = lists.flat();
  const where = (await Promise.all(targets.map(targetAt))).map(targetName).join(', ');
  if (all.length === 0) {
    // Rejects where there is no such directory, or none that may be read.
    await Promise.all(targets.map((target) => listBackups(target)));
    throw new FsbackupError('usage', `there is no backup of ${job} in ${where}`, { hint: LIST_HINT });
  }
  if (which === 'latest') {
    const self = thisHost();
    const { usable, future } = withoutFuture(preferOwn(all.filter(isComplete), self), new Date());
    const latest = usable
      .toSorted((a, b) => a.manifest.completedAt.localeCompare(b.manifest.completedAt))
      .at(-1);
    if (latest !== undefined) {
      for (const message of [...describeFuture(future, latest), ...describeForeign(latest, self)])
        warn(message);
    }
    const [copy, ...others] = all.filter(isComplete).filter(({ backupId }) => backupId === latest?.backupId);
    if (copy !== undefined) return [copy, ...others];
    throw new FsbackupError('usage', `no backup of ${job} in ${where} is complete`, { hint: LIST_HINT });
  }
  const found = matching(all, which);
  const [first] = found;
  if (first === undefined) {
    throw new FsbackupError('usage', `there is no backup ${selector} in ${where}`, { hint: LIST_HINT });
  }
  const ids = idsOf(found);
  if (ids.length > 1) throw ambiguous(selector, ids);
  const [copy, ...others] = found.filter(isComplete);
  return copy === undefined ? [requireComplete(first)] : [copy, ...others];
}

/** Of the backup that `selector` names (`findCopies`) the copy in the first of the targets. */
export async function findBackup(
  targets: readonly string[],
  selector: string,
  warn: (message: string) => void,
): Promise<CompleteBackup> {
  return (await findCopies(targets, selector, warn))[0];
}
