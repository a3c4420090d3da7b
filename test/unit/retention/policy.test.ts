import { describe, expect, it } from 'vitest';
import { bucketOf } from '../../../src/retention/bucket.js';
import { needsOf, type JudgedBackup } from '../../../src/retention/judged-backup.js';
import { judge } from '../../../src/retention/policy.js';
import type { KeepRules } from '../../../src/config/types.js';

const NOW = new Date('2026-11-24T12:00:00Z');

function backup(time: string, changes: Partial<JudgedBackup> = {}): JudgedBackup {
  return {
    backupId: time,
    time: new Date(time),
    state: 'complete',
    quality: 'good',
    needs: [],
    mountedAt: [],
    ...changes,
  };
}

/** `count` backups, one every `hours`, the newest an hour before now; the oldest first. */
function series(count: number, hours: number): JudgedBackup[] {
  return Array.from({ length: count }, (_, index) =>
    backup(new Date(NOW.getTime() - 3_600_000 - (count - 1 - index) * hours * 3_600_000).toISOString()),
  );
}

function kept(backups: readonly JudgedBackup[], rules: KeepRules | undefined, now = NOW): string[] {
  return judge(backups, rules, now)
    .filter(({ action }) => action === 'keep')
    .map(({ backupId }) => backupId);
}

function reasons(backups: readonly JudgedBackup[], rules: KeepRules, id: string): string[] {
  return judge(backups, rules, NOW).find(({ backupId }) => backupId === id)?.reasons ?? [];
}

describe('a backup that is mounted', () => {
  it('stays, with what it needs, and stands for nothing else', () => {
    const [parent, child, newest] = series(3, 24);
    if (parent === undefined || child === undefined || newest === undefined) throw new Error('three');
    const mounted = { ...child, needs: [parent.backupId], mountedAt: ['/mnt'] };
    const backups = [parent, mounted, newest];
    expect(kept(backups, { last: 1 })).toEqual(backups.map(({ backupId }) => backupId));
    expect(reasons(backups, { last: 1 }, child.backupId)).toEqual(['it is mounted at /mnt']);
  });
});

describe('a backup that was just made', () => {
  it('stays, though another is dated later, and that counts for nothing where this host made it', () => {
    const own = { name: 'this', isThis: true };
    const made = backup('2026-11-24T12:00:00Z', { host: own });
    for (const host of [undefined, own]) {
      const ahead = backup('2026-11-24T12:04:00Z', { host });
      const verdicts = judge([made, ahead], { daily: 7 }, NOW, made.backupId);
      expect(verdicts).toMatchObject([{ action: 'keep' }, { action: 'keep' }]);
      expect(verdicts[0]?.reasons).toContain('this run made it');
      expect(verdicts[1]?.reasons[0]).toBe(
        host === undefined ? 'daily 2026-11-24' : 'it is dated in the future',
      );
    }
  });
});

describe('a backup that another host made', () => {
  it('stays, and stands for none of those that this one made, or that do not tell', () => {
    const [foreign, unknown, own, newest] = series(4, 24);
    if (foreign === undefined || unknown === undefined || own === undefined || newest === undefined)
      throw new Error('four');
    const backups = [
      { ...foreign, host: { name: 'other', isThis: false } },
      unknown,
      { ...own, host: { name: 'this', isThis: true } },
      { ...newest, host: { name: 'other', isThis: false } },
    ];
    expect(kept(backups, { last: 1 })).toEqual([foreign, own, newest].map(({ backupId }) => backupId));
    expect(reasons(backups, { last: 1 }, newest.backupId)).toEqual(['another host made it, other']);
    expect(reasons(backups, { last: 1 }, own.backupId)).toContain('the newest');
  });
});

describe('a backup of which nobody can tell what it needs', () => {
  it('holds all that is older, whatever lies between, and nothing newer', () => {
    const [full, increment, unread, old, newest] = series(5, 24);
    if (!full || !increment || !unread || !old || !newest) throw new Error('five');
    const damaged: JudgedBackup = { ...unread, state: 'damaged', needs: 'unknown' };
    const backups = [full, { ...increment, needs: [full.backupId] }, damaged, old, newest];
    const verdicts = judge(backups, { last: 1 }, NOW);
    expect(verdicts.map(({ action }) => action)).toEqual(['keep', 'keep', 'keep', 'remove', 'keep']);
    expect(verdicts.map(({ heldFor }) => heldFor)).toEqual([
      unread.backupId,
      unread.backupId,
      undefined,
      undefined,
      undefined,
    ]);
    expect(verdicts[1]?.reasons).toEqual([`${unread.backupId} is damaged, and may need it`]);
    // A backup that needs none, whatever its manifest would say.
    expect(kept([full, increment, { ...damaged, needs: [] }, old, newest], { last: 1 })).toEqual([
      unread.backupId,
      newest.backupId,
    ]);
  });
});

describe('the rules', () => {
  it('keep everything where there are none', () => {
    const all = series(50, 1);
    expect(kept(all, undefined)).toHaveLength(50);
    expect(kept(all, {})).toHaveLength(50);
  });

  it('keep the last ones', () => {
    const all = series(10, 5);
    expect(kept(all, { last: 3 })).toEqual(all.slice(-3).map(({ backupId }) => backupId));
  });

  it('keep the newest of each day, week, month and year that has one', () => {
    const all = ['2024-12-31T10:00Z', '2025-12-29T10:00Z', '2026-01-02T10:00Z', '2026-11-20T01:00Z']
      .concat(['2026-11-20T13:00Z', '2026-11-23T01:00Z', '2026-11-24T01:00Z'])
      .map((time) => backup(time));
    expect(kept(all, { daily: 3 })).toEqual(['2026-11-20T13:00Z', '2026-11-23T01:00Z', '2026-11-24T01:00Z']);
    // 2025-12-29 and 2026-01-02 are of one ISO week.
    expect(kept(all, { weekly: 3 })).toEqual(['2026-01-02T10:00Z', '2026-11-20T13:00Z', '2026-11-24T01:00Z']);
    expect(kept(all, { monthly: 2 })).toEqual(['2026-01-02T10:00Z', '2026-11-24T01:00Z']);
    expect(kept(all, { yearly: 9 })).toEqual(['2024-12-31T10:00Z', '2025-12-29T10:00Z', '2026-11-24T01:00Z']);
    expect(kept(all, { hourly: 2 })).toEqual(['2026-11-23T01:00Z', '2026-11-24T01:00Z']);
  });

  it('keep what is within a span of the newest, not of the clock', () => {
    const all = series(10, 24);
    const rules = { withinMs: 3 * 86_400_000 };
    expect(kept(all, rules)).toHaveLength(4);
    expect(kept(all, rules, new Date('2099-01-01T00:00Z'))).toHaveLength(4);
  });

  it('are all named as reasons', () => {
    const all = series(3, 24);
    const newest = all[2]?.backupId ?? '';
    expect(reasons(all, { last: 2, daily: 2, withinMs: 86_400_000 }, newest)).toEqual([
      'last 2',
      'daily 2026-11-24',
      'within 1d of the newest',
      'the newest',
      'the last good one',
    ]);
    expect(reasons(all, { last: 1 }, all[0]?.backupId ?? '')).toEqual(['no rule keeps it']);
  });

  it('let a poor backup stand for a period only where there is no better', () => {
    const all = [
      backup('2026-11-22T01:00Z', { quality: 'poor' }),
      backup('2026-11-23T01:00Z'),
      backup('2026-11-23T13:00Z', { quality: 'poor' }),
      backup('2026-11-24T01:00Z'),
    ];
    expect(kept(all, { daily: 3 })).toEqual(['2026-11-22T01:00Z', '2026-11-23T01:00Z', '2026-11-24T01:00Z']);
  });
});

describe('what no rule takes away', () => {
  it('is the last good backup, and the last whole one', () => {
    const all = [
      backup('2026-11-20T01:00Z'),
      backup('2026-11-21T01:00Z'),
      backup('2026-11-22T01:00Z', { quality: 'warned' }),
      backup('2026-11-23T01:00Z', { quality: 'poor' }),
      backup('2026-11-24T01:00Z', { quality: 'poor' }),
    ];
    expect(kept(all, { last: 1 })).toEqual(['2026-11-21T01:00Z', '2026-11-22T01:00Z', '2026-11-24T01:00Z']);
    expect(reasons(all, { last: 1 }, '2026-11-21T01:00Z')).toEqual(['the last good one']);
  });

  it('is what a kept one needs, and what that needs', () => {
    const all = [
      backup('2026-11-20T01:00Z'),
      backup('2026-11-21T01:00Z'),
      backup('2026-11-22T01:00Z', { needs: ['2026-11-20T01:00Z'] }),
      backup('2026-11-23T01:00Z', { needs: ['2026-11-22T01:00Z', 'gone'] }),
    ];
    expect(kept(all, { last: 1 })).toEqual(['2026-11-20T01:00Z', '2026-11-22T01:00Z', '2026-11-23T01:00Z']);
    expect(reasons(all, { last: 1 }, '2026-11-20T01:00Z')).toEqual(['2026-11-22T01:00Z needs it']);
  });

  it('is what is not complete, and what that needs', () => {
    const all = [
      backup('2026-11-20T01:00Z'),
      backup('2026-11-21T01:00Z', { state: 'damaged' }),
      backup('2026-11-22T01:00Z', { state: 'incomplete', needs: ['2026-11-20T01:00Z'] }),
      backup('2026-11-23T01:00Z'),
    ];
    expect(kept(all, { last: 1 })).toHaveLength(4);
  });

  it('is what lies in the future, which pushes no other out and is not the last good one', () => {
    const all = [backup('2026-11-20T01:00Z'), backup('2026-11-23T01:00Z'), backup('2027-03-01T01:00Z')];
    expect(kept(all, { last: 1 })).toEqual(['2026-11-23T01:00Z', '2027-03-01T01:00Z']);
    // A clock that fell back to its epoch removes nothing.
    expect(kept(all, { last: 1 }, new Date(0))).toHaveLength(3);
  });
});

/** Two full backups, and two increments of the second. */
function chain(changes: Partial<JudgedBackup>): JudgedBackup[] {
  return [
    backup('2026-11-20T01:00Z'),
    backup('2026-11-21T01:00Z', changes),
    backup('2026-11-22T01:00Z', { needs: ['2026-11-21T01:00Z'] }),
    backup('2026-11-23T01:00Z', { needs: ['2026-11-22T01:00Z'] }),
  ];
}

describe('an increment is worth no more than what it needs', () => {
  const failed = { quality: 'poor', flaw: 'failed its full verify of 2026-11-23' } as const;

  it('so the last good one is what can be restored without a bad one, and the reason is told', () => {
    const all = chain(failed);
    expect(kept(all, { last: 1 })).toHaveLength(4);
    expect(reasons(all, { last: 1 }, '2026-11-20T01:00Z')).toEqual(['the last good one']);
    expect(judge(all, { last: 1 }, NOW).map(({ flaw }) => flaw)).toEqual([
      undefined,
      'it failed its full verify of 2026-11-23',
      'it needs 2026-11-21T01:00Z, which failed its full verify of 2026-11-23',
      'it needs 2026-11-21T01:00Z, which failed its full verify of 2026-11-23',
    ]);
  });

  it('also when what it needs is not there, or not complete', () => {
    const [first, gone, ...increments] = chain({});
    if (first === undefined || gone === undefined) throw new Error('two');
    for (const rest of [[], [{ ...gone, state: 'damaged' } as const]]) {
      const all = [first, ...rest, ...increments];
      expect(reasons(all, { last: 1 }, first.backupId)).toEqual(['the last good one']);
      expect(judge(all, { last: 1 }, NOW).at(-1)?.flaw).toBe(
        `it needs ${gone.backupId}, which is ${rest.length === 0 ? 'not there' : 'damaged'}`,
      );
    }
  });

  it('and is made with warnings when that was', () => {
    const all = chain({ quality: 'warned', flaw: 'was made with warnings' });
    expect(reasons(all, { last: 1 }, '2026-11-20T01:00Z')).toEqual(['the last good one']);
    expect(reasons(all, { last: 1 }, '2026-11-23T01:00Z')).toContain('the last one with nothing missing');
  });

  it('stands for a period only where there is no better', () => {
    const all = [...chain(failed), backup('2026-11-23T00:30Z')];
    expect(reasons(all, { daily: 9 }, '2026-11-23T00:30Z')).toContain('daily 2026-11-23');
  });

  it('and a circle of needs, which no run makes, ends', () => {
    const all = [
      backup('2026-11-20T01:00Z', { needs: ['b'] }),
      backup('2026-11-21T01:00Z', { backupId: 'b', needs: ['2026-11-20T01:00Z'], quality: 'poor' }),
    ];
    expect(judge(all, { last: 1 }, NOW).map(({ action }) => action)).toEqual(['keep', 'keep']);
  });
});

/** Whether all that one needs is there and nothing of it is poor. */
function isRestorable(
  one: JudgedBackup,
  backups: readonly JudgedBackup[],
  worst: 'good' | 'warned',
): boolean {
  const wanted = [one];
  for (const each of wanted) {
    if (each.state !== 'complete' || each.quality === 'poor') return false;
    if (worst === 'good' && each.quality !== 'good') return false;
    for (const id of each.needs) {
      const found = backups.find(({ backupId }) => backupId === id);
      if (found === undefined) return false;
      wanted.push(found);
    }
  }
  return true;
}

/** A small generator of the same numbers each time (Park and Miller). */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

function randomCase(seed: number): { backups: JudgedBackup[]; rules: KeepRules } {
  const next = numbers(seed);
  const backups = Array.from({ length: next(40) }, (_, index) => {
    const time = new Date(NOW.getTime() + 86_400_000 - next(800) * 3_600_000 * (1 + next(20)));
    const state = (['complete', 'complete', 'complete', 'incomplete', 'damaged'] as const)[next(5)];
    const quality = (['good', 'good', 'warned', 'poor'] as const)[next(4)];
    return {
      backupId: `id-${index}`,
      time,
      state: state ?? 'complete',
      quality: quality ?? 'good',
      // At times of one that is gone.
      needs: index > 0 && next(3) === 0 ? [`id-${next(12) === 0 ? 'gone' : next(index)}`] : [],
      mountedAt: [],
    } satisfies JudgedBackup;
  });
  const rules: KeepRules = {};
  for (const rule of ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const) {
    if (next(2) === 0) rules[rule] = 1 + next(5);
  }
  if (next(2) === 0) rules.withinMs = (1 + next(40)) * 86_400_000;
  return { backups, rules };
}

const SEEDS = Array.from({ length: 300 }, (_, index) => index + 1);

describe('whatever the backups and the rules', () => {
  it('nothing kept needs what is removed, and the last good one stays', () => {
    for (const seed of SEEDS) {
      const { backups, rules } = randomCase(seed);
      const stays = new Set(kept(backups, rules));
      for (const one of backups.filter(({ backupId }) => stays.has(backupId)))
        for (const id of needsOf(one).filter((needed) => needed !== 'id-gone'))
          expect(stays.has(id), `seed ${seed}: ${one.backupId}`).toBe(true);
      const unfinished = backups.filter(({ state }) => state !== 'complete');
      expect(unfinished.filter(({ backupId }) => !stays.has(backupId))).toEqual([]);
      const left = backups.filter(({ backupId }) => stays.has(backupId));
      for (const worst of ['good', 'warned'] as const) {
        const [last] = backups
          .filter((one) => one.time <= NOW && isRestorable(one, backups, worst))
          .toSorted((a, b) => b.time.getTime() - a.time.getTime());
        if (last === undefined) continue;
        const same = left.filter((one) => one.time.getTime() === last.time.getTime());
        expect(
          same.some((one) => isRestorable(one, left, worst)),
          `seed ${seed}: the last ${worst} one`,
        ).toBe(true);
      }
    }
  });

  it('a second pruning removes nothing more, and one more rule never removes more', () => {
    for (const seed of SEEDS) {
      const { backups, rules } = randomCase(seed);
      const stays = new Set(kept(backups, rules));
      const rest = backups.filter(({ backupId }) => stays.has(backupId));
      expect(kept(rest, rules), `seed ${seed}`).toEqual(rest.map(({ backupId }) => backupId));
      const more = new Set(kept(backups, { ...rules, daily: (rules.daily ?? 0) + 3 }));
      // Without any rule everything stays: that is no fewer than with one.
      const lost = Object.keys(rules).length === 0 ? [] : [...stays].filter((id) => !more.has(id));
      expect(lost, `seed ${seed}`).toEqual([]);
    }
  });
});

describe('bucketOf', () => {
  it('counts weeks as ISO 8601 does', () => {
    const week = (date: string): string => bucketOf('weekly', new Date(`${date}T12:00:00Z`));
    expect([week('2024-12-30'), week('2026-01-01'), week('2027-01-03'), week('2026-11-24')]).toEqual([
      '2025-W01',
      '2026-W01',
      '2026-W53',
      '2026-W48',
    ]);
  });
});
