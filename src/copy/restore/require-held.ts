import { FsbackupError } from '../../errors.js';
import { closest } from '../../suggest.js';
import { suggested } from '../../system/command-line.js';
import { isWithin } from '../../system/mountinfo.js';
import { entriesInList } from '../backup/backup-entries.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import { digestsOf } from '../digests/backup-digests.js';
import type { BackupEntry, CopyEngine } from '../engine.js';

/** The name in which `other` differs from `wanted`, where it is the only one; undefined else. */
function differing(wanted: readonly string[], other: readonly string[]): number | undefined {
  if (wanted.length !== other.length) return undefined;
  const at = wanted.findIndex((name, index) => name !== other[index]);
  return wanted.every((name, index) => index === at || name === other[index]) ? at : undefined;
}

/** Whichever of both is nearer to `wanted`, in one name of the path; undefined where neither is near. */
function nearer(wanted: string, best: string | undefined, next: string): string | undefined {
  const names = wanted.split('/');
  const others = next.split('/');
  const at = differing(names, others);
  const [name, other] = at === undefined ? [] : [names[at], others[at]];
  if (name === undefined || other === undefined) return best;
  const before = at === undefined ? undefined : best?.split('/')[at];
  const isNearer = closest(name, before === undefined ? [other] : [before, other]) === other;
  return isNearer ? next : best;
}

/** For more than this many nobody is told what was meant. */
const MOST_MEANT = 10;

type Entries = () => AsyncIterable<BackupEntry>;

/** Which of `paths` are not among the entries. A stream: memory does not grow with them. */
export async function findMissing(paths: readonly string[], entries: Entries): Promise<string[]> {
  const missing = new Set(paths);
  for await (const { path: entry } of entries()) {
    missing.delete(entry);
    if (missing.size === 0) break;
  }
  return [...missing];
}

/** What missing paths were probably meant to be: entries of whose names one alone is another, and near. */
export async function findMeant(missing: readonly string[], entries: Entries): Promise<string[]> {
  const meant = new Map<string, string>();
  const wanted = missing.slice(0, MOST_MEANT);
  for await (const { path: entry } of entries()) {
    for (const one of wanted) {
      const near = nearer(one, meant.get(one), entry);
      if (near !== undefined) meant.set(one, near);
    }
  }
  return [...meant.values()];
}

/** Whether nobody need look for it: the backup is known to have it, or its manifest tells that it lacks it. */
function isKnown(wanted: string, { sources, unreadable }: CompleteBackup['manifest']): boolean {
  return (
    sources.some((source) => isWithin(source, wanted)) ||
    unreadable.some((lost) => isWithin(wanted, lost) || isWithin(lost, wanted))
  );
}

/**
 * Rejects with `usage`, and names what was probably meant, where the list of digests that lies beside the backup knows that it has
 * not got one of these paths. Where there is no such list, or not the right one, the restore finds that out.
 */
export async function requireHeld(
  paths: readonly string[],
  backup: CompleteBackup,
  { engine, signal }: { engine: Pick<CopyEngine, 'list'>; signal: AbortSignal },
): Promise<void> {
  const asked = paths.filter((one) => !isKnown(one, backup.manifest));
  if (asked.length === 0 || engine.list !== undefined) return;
  // What only the repository has is not brought for this.
  const digests = await digestsOf(backup, { engine: {}, signal });
  if (digests === undefined || !('file' in digests)) return;
  const entries: Entries = () => entriesInList(digests.file);
  const missing = await findMissing(asked, entries);
  if (missing.length === 0) return;
  const meant = await findMeant(missing, entries);
  const name = `${backup.job}@${backup.backupId}`;
  const list = `\`${suggested('backups files', [name])}\` lists what is in it.`;
  throw new FsbackupError('usage', `not in the backup ${name}: ${missing.join(', ')}`, {
    hint: meant.length === 0 ? list : `Did you mean ${meant.join(', ')}? ${list}`,
  });
}
