import type { KeepRules } from '../config/types.js';
import { isInFuture } from '../copy/backup/future-backups.js';
import { formatSpan } from '../config/span.js';
import { bucketOf, type Period } from './bucket.js';
import { needsOf, type JudgedBackup } from './judged-backup.js';
import { worthOf, type Worth } from './worth.js';

/** What is to become of a backup, and why. */
export interface Verdict {
  backupId: string;
  action: 'keep' | 'remove';
  /** All that keeps it; of one to remove, why nothing does. */
  reasons: string[];
  /** Why it is not good, by itself or by what it needs: a clause. Undefined: it is, or is not complete. */
  flaw: string | undefined;
  /** That which it stays for alone: a backup of which nobody can tell what it needs. */
  heldFor: string | undefined;
}

const PERIODS: readonly Period[] = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'];

class Judgement {
  readonly #reasons = new Map<string, string[]>();
  readonly #heldFor = new Map<string, string>();
  readonly #worth: (backup: JudgedBackup) => Worth;

  constructor(backups: readonly JudgedBackup[]) {
    this.#worth = worthOf(backups);
  }

  keep({ backupId }: JudgedBackup, reason: string): void {
    const reasons = this.#reasons.get(backupId) ?? [];
    if (!reasons.includes(reason)) reasons.push(reason);
    this.#reasons.set(backupId, reasons);
  }

  /** For another, where nothing else keeps it. */
  hold(backup: JudgedBackup, { backupId, state }: JudgedBackup): void {
    if (this.isKept(backup)) return;
    this.keep(backup, `${backupId} is ${state}, and may need it`);
    this.#heldFor.set(backup.backupId, backupId);
  }

  isKept({ backupId }: JudgedBackup): boolean {
    return this.#reasons.has(backupId);
  }

  /** With what it needs. */
  quality(backup: JudgedBackup): JudgedBackup['quality'] {
    return this.#worth(backup).quality;
  }

  verdict(backup: JudgedBackup): Verdict {
    const { backupId, state } = backup;
    const reasons = this.#reasons.get(backupId);
    const flaw = state === 'complete' ? this.#worth(backup).flaw : undefined;
    return {
      backupId,
      action: reasons === undefined ? 'remove' : 'keep',
      reasons: reasons ?? ['no rule keeps it'],
      flaw,
      heldFor: this.#heldFor.get(backupId),
    };
  }
}

/** `newestFirst`: those that the rules are about. */
function applyPeriod(
  period: Period,
  count: number,
  newestFirst: readonly JudgedBackup[],
  judgement: Judgement,
): void {
  const chosen = new Map<string, JudgedBackup>();
  for (const backup of newestFirst) {
    const bucket = bucketOf(period, backup.time);
    const before = chosen.get(bucket);
    if (before === undefined && chosen.size === count) break;
    // The newest of a bucket stands for it, but a poor one only where there is no better.
    if (
      before === undefined ||
      (judgement.quality(before) === 'poor' && judgement.quality(backup) !== 'poor')
    ) {
      chosen.set(bucket, backup);
    }
  }
  for (const [bucket, backup] of chosen) judgement.keep(backup, `${period} ${bucket}`);
}

function applyRules(rules: KeepRules, newestFirst: readonly JudgedBackup[], judgement: Judgement): void {
  const [newest] = newestFirst;
  if (newest === undefined) return;
  const { last, withinMs } = rules;
  if (last !== undefined) {
    for (const backup of newestFirst.slice(0, last)) judgement.keep(backup, `last ${last}`);
  }
  for (const period of PERIODS) {
    const count = rules[period];
    if (count !== undefined) applyPeriod(period, count, newestFirst, judgement);
  }
  if (withinMs !== undefined) {
    // From the newest backup and not from now: a clock that jumps ahead must not make all of them too old.
    for (const backup of newestFirst) {
      if (newest.time.getTime() - backup.time.getTime() <= withinMs)
        judgement.keep(backup, `within ${formatSpan(withinMs)} of the newest`);
    }
  }
}

/** What no rule can take away. */
function protect(newestFirst: readonly JudgedBackup[], judgement: Judgement): void {
  const [newest] = newestFirst;
  if (newest !== undefined) judgement.keep(newest, 'the newest');
  const good = newestFirst.find((one) => judgement.quality(one) === 'good');
  if (good !== undefined) judgement.keep(good, 'the last good one');
  const whole = newestFirst.find((one) => judgement.quality(one) !== 'poor');
  if (whole !== undefined && whole !== good) judgement.keep(whole, 'the last one with nothing missing');
}

/** Its chain is older than a backup is, and how far back it goes only the manifest tells: all that is older stays. */
function holdForUnread(backups: readonly JudgedBackup[], judgement: Judgement): void {
  const unread = backups.filter(({ needs }) => needs === 'unknown');
  for (const backup of backups) {
    const newer = unread.find((one) => one.time.getTime() >= backup.time.getTime());
    if (newer !== undefined) judgement.hold(backup, newer);
  }
}

function protectParents(backups: readonly JudgedBackup[], judgement: Judgement): void {
  const byId = new Map(backups.map((backup) => [backup.backupId, backup]));
  const queue = backups.filter((backup) => judgement.isKept(backup));
  for (let child = queue.pop(); child !== undefined; child = queue.pop()) {
    for (const id of needsOf(child)) {
      const parent = byId.get(id);
      if (parent === undefined) continue;
      if (!judgement.isKept(parent)) queue.push(parent);
      judgement.keep(parent, `${child.backupId} needs it`);
    }
  }
}

/**
 * Decides which backups of one job in one target stay. Pure. Returns a verdict for each, in the order given.
 *
 * As restic's `forget`: the rules are independent of each other, periods count only where there is a backup in them,
 * the newest of a period stands for it, a poor one only where there is no better. A backup is worth no more than what it
 * needs. Hours, days, ISO weeks, months and years are those of UTC, as in the ids.
 * Whatever the rules say, these stay: `justMade`, the newest, the last good one, what a kept one needs, and all that is not
 * complete (a run may be writing it), is mounted, or lies in the future (a clock was wrong: it also counts for no rule, so that it
 * pushes no other out). So does what another host made, in a directory that they share. Nothing goes that is older than a backup of which nobody can tell what it needs. Without rules everything stays.
 */
export function judge(
  backups: readonly JudgedBackup[],
  rules: KeepRules | undefined,
  now: Date,
  justMade?: string,
): Verdict[] {
  const judgement = new Judgement(backups);
  const counted: JudgedBackup[] = [];
  for (const backup of backups) {
    if (backup.state !== 'complete') judgement.keep(backup, `it is ${backup.state}`);
    else if (backup.host?.isThis === false)
      judgement.keep(backup, `another host made it, ${backup.host.name}`);
    else if (isInFuture(backup.time, now, backup.host?.isThis))
      judgement.keep(backup, 'it is dated in the future');
    else counted.push(backup);
  }
  // Those of one second stay in the order in which they are listed: that of their completion.
  const newestFirst = counted.toReversed().toSorted((a, b) => b.time.getTime() - a.time.getTime());
  if (rules === undefined || Object.keys(rules).length === 0) {
    for (const backup of newestFirst) judgement.keep(backup, 'there are no rules');
  } else {
    applyRules(rules, newestFirst, judgement);
    protect(newestFirst, judgement);
  }
  for (const backup of backups) {
    if (backup.backupId === justMade) judgement.keep(backup, 'this run made it');
    for (const place of backup.mountedAt) judgement.keep(backup, `it is mounted at ${place}`);
  }
  holdForUnread(backups, judgement);
  protectParents(backups, judgement);
  return backups.map((backup) => judgement.verdict(backup));
}
