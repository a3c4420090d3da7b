import { targetName, targetOf, type RepositorySettings } from '../../backup-target.js';
import { begunAt, type BackupRef } from './backup-layout.js';
import { isSameHost, thisHost } from '../../system/this-host.js';
import type { Manifest } from './manifest.js';

/** What there is to know of a complete backup. */
interface DatedBackup extends BackupRef {
  repository?: RepositorySettings;
  manifest: Manifest;
}

/** Clocks of machines that share a target may differ by so much. */
const CLOCK_SLACK_MS = 5 * 60_000;

/**
 * Whether a clock was wrong when it was made, or is now. Also for what is no time: nobody knows when that was. Of what this
 * host made itself (`isOwn`) a moment tells it: nothing was made yet that comes later.
 */
export function isInFuture(time: Date, now: Date, isOwn = false): boolean {
  return !(time.getTime() <= now.getTime() + (isOwn ? 0 : CLOCK_SLACK_MS));
}

function isFutureBackup({ backupId, manifest }: DatedBackup, now: Date): boolean {
  const isOwn = manifest.host !== undefined && isSameHost(manifest.host, thisHost());
  return isInFuture(begunAt(backupId), now, isOwn) || isInFuture(new Date(manifest.completedAt), now, isOwn);
}

/**
 * Those that may be called the latest: not what is dated in the future, which would be that for years; all of them where all are.
 * `future` are those that are dated so.
 */
export function withoutFuture<Of extends DatedBackup>(
  backups: readonly Of[],
  now: Date,
): { usable: Of[]; future: Of[] } {
  const future = backups.filter((one) => isFutureBackup(one, now));
  const others = backups.filter((one) => !future.includes(one));
  return { usable: others.length > 0 ? others : [...backups], future };
}

/** What to tell where the latest was wanted: a sentence without its full stop for each. */
export function describeFuture(future: readonly DatedBackup[], used: { backupId: string }): string[] {
  const told = new Map(future.map((one) => [one.backupId, one]));
  return [...told.values()].map((one) => {
    const what = `${one.job}@${one.backupId} in ${targetName(targetOf(one))} is dated in the future, by a clock that was wrong or is now`;
    return one.backupId === used.backupId ? what : `${what}: it does not count as the latest`;
  });
}
