import { REMOVING, type InterruptedBackup } from '../copy/backup/interrupted-backup.js';

const DAY_MS = 86_400_000;
/** Longer than between two runs of any job that still runs, a monthly one that fails once included. */
const STALE_DAYS = 90;

/** What is to become of a broken-off copy, and why. */
export interface JudgedInterrupted {
  backup: InterruptedBackup;
  action: 'keep' | 'remove';
  reason: string;
}

/** What decides. */
export interface InterruptedFacts {
  /** This one, as names of directories have it. */
  host: string;
  now: Date;
  /** Somebody asked for their removal. */
  isAsked: boolean;
}

function judgeOne(
  { job, host, place, directory, startedAt }: InterruptedBackup,
  facts: InterruptedFacts,
): Omit<JudgedInterrupted, 'backup'> {
  if (directory.endsWith(REMOVING)) return { action: 'remove', reason: 'its removal was cut short' };
  const goesOn = `the next run of ${job} on ${host} goes on from it`;
  if (place === 'there') {
    return {
      action: 'keep',
      reason: `${goesOn}; it lies on another host: to be removed there, as ${job}/.incomplete-${host}*`,
    };
  }
  if (facts.isAsked) return { action: 'remove', reason: '--interrupted asks for it' };
  const isStale = facts.now.getTime() - Date.parse(startedAt) > STALE_DAYS * DAY_MS;
  // A run of another host cannot be locked out, and knows best whether it is to come again.
  if (isStale && host === facts.host)
    return { action: 'remove', reason: `no run of ${job} has gone on from it for ${STALE_DAYS} days` };
  return { action: 'keep', reason: `${goesOn}; --interrupted removes it` };
}

/** Decides what becomes of broken-off copies: they are no backups, and no rule is about them. Pure. */
export function judgeInterrupted(
  kept: readonly InterruptedBackup[],
  facts: InterruptedFacts,
): JudgedInterrupted[] {
  return kept.map((backup) => ({ backup, ...judgeOne(backup, facts) }));
}
