import { targetName, targetOf } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';
import { suggested } from '../../system/command-line.js';
import { thisHost } from '../../system/this-host.js';
import { isComplete, listJobBackups, type CompleteBackup } from './backup-list.js';
import { findCopies, parseSelector } from './backup-select.js';
import { readDoubt, type Doubt } from '../verify/doubtful-backups.js';
import { withoutFuture } from './future-backups.js';
import { preferOwn } from './host-backups.js';
import type { Verifications } from '../verify/verify-history.js';

/** A copy that comes before the chosen one, and why it was not taken. */
export interface PassedOver {
  target: string;
  why: string;
}

/** The copy of a backup that is used. */
export interface ChosenCopy {
  backup: CompleteBackup;
  /** Why what it holds is not to be relied on, a clause; absent: nothing speaks against it. */
  doubt?: string;
  passedOver: PassedOver[];
}

export interface ChooseCopyOptions {
  verifications: Verifications;
  /** Take one that is known to be bad too, though it was not named by its whole id: somebody only looks at it. */
  mayBeBad: boolean;
  /** Is told what `findCopies` tells. */
  warn: (message: string) => void;
}

type Judged = { backup: CompleteBackup; doubt: Doubt | undefined };

function rankOf({ doubt }: Judged): number {
  return doubt === undefined ? 0 : doubt.kind === 'shared' ? 1 : 2;
}

async function judge(backup: CompleteBackup, verifications: Verifications): Promise<Judged> {
  return { backup, doubt: await readDoubt(backup, verifications) };
}

function nameOf({ job, backupId }: CompleteBackup): string {
  return `${job}@${backupId}`;
}

function targetNameOf(backup: CompleteBackup): string {
  return targetName(targetOf(backup));
}

/**
 * The backups of the job that are not known to be bad, the newest first, of each its best copy: down to the first that nothing speaks
 * against.
 */
async function newestUsable(
  targets: readonly string[],
  job: string,
  verifications: Verifications,
): Promise<Judged[]> {
  const found: Judged[] = [];
  const lists = await Promise.all(targets.map((target) => listJobBackups(target, job)));
  const { usable } = withoutFuture(preferOwn(lists.flat().filter(isComplete), thisHost()), new Date());
  const newestFirst = usable.toSorted((a, b) => b.manifest.completedAt.localeCompare(a.manifest.completedAt));
  for (const backupId of new Set(newestFirst.map((backup) => backup.backupId))) {
    const copies = newestFirst.filter((backup) => backup.backupId === backupId);
    const [best] = (await Promise.all(copies.map((copy) => judge(copy, verifications)))).toSorted(
      (a, b) => rankOf(a) - rankOf(b),
    );
    if (best === undefined || best.doubt?.kind === 'bad') continue;
    found.push(best);
    if (best.doubt === undefined) break;
  }
  return found;
}

/** What to restore instead of what is known to be bad. */
function describeInstead(usable: readonly Judged[]): string {
  const [newest] = usable;
  if (newest === undefined) return 'No backup of the job is known to be better.';
  const inTarget = ({ backup }: Judged): string => `${nameOf(backup)} in ${targetNameOf(backup)}`;
  const { doubt } = newest;
  if (doubt === undefined) return `The newest that is not known to be bad is ${inTarget(newest)}.`;
  const good = usable.find((one) => one.doubt === undefined);
  if (good !== undefined)
    return `The newest that nothing speaks against is ${inTarget(good)}; ${inTarget(newest)} is newer, and may share what is bad.`;
  const verify = suggested('backups verify', [nameOf(newest.backup), '--full']);
  return `The newest that is not known to be bad is ${inTarget(newest)}, and it may share what is bad: \`${verify}\` tells.`;
}

/**
 * Finds the backup that `selector` names, as `findBackup`, and of its copies the first that nothing speaks against; where
 * there is none, the first of those that are only doubtful, since something else in their target was found bad. Where all
 * are known to be bad, it rejects with `usage`, unless the backup was named by its whole id: then somebody means it.
 */
export async function chooseCopy(
  targets: readonly string[],
  selector: string,
  { verifications, mayBeBad, warn }: ChooseCopyOptions,
): Promise<ChosenCopy> {
  const copies = await findCopies(targets, selector, warn);
  const judged: Judged[] = [];
  for (const copy of copies) judged.push(await judge(copy, verifications));
  const best = Math.min(...judged.map(rankOf));
  const index = judged.findIndex((one) => rankOf(one) === best);
  const { backup, doubt } = judged[index] as Judged;
  const { job, which } = parseSelector(selector);
  if (doubt?.kind === 'bad' && !mayBeBad && which !== backup.backupId) {
    const usable = await newestUsable(targets, job, verifications);
    const others = judged
      .slice(1)
      .map((one) => `; in ${targetNameOf(one.backup)}: ${one.doubt?.why ?? ''}`)
      .join('');
    throw new FsbackupError(
      'usage',
      `${nameOf(backup)} in ${targetNameOf(backup)} is known to be bad: ${doubt.why}${others}`,
      {
        hint: `${describeInstead(usable)} To have this one all the same, write its whole id: ${nameOf(backup)}`,
      },
    );
  }
  return {
    backup,
    ...(doubt === undefined ? {} : { doubt: doubt.why }),
    passedOver: judged
      .slice(0, index)
      .map((one) => ({ target: targetNameOf(one.backup), why: one.doubt?.why ?? '' })),
  };
}

/** What to tell of a choice before it is used: a sentence without its full stop for each thing. */
export function describeChoice({ backup, doubt, passedOver }: ChosenCopy): string[] {
  const where = targetNameOf(backup);
  return [
    ...passedOver.map(
      ({ target, why }) =>
        `of ${nameOf(backup)}, not the copy in ${target} is used but the one in ${where}: ${why}`,
    ),
    ...(doubt === undefined ? [] : [`${nameOf(backup)} in ${where} may be bad: ${doubt}`]),
  ];
}
