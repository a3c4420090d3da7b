import { needsOf, type JudgedBackup } from './judged-backup.js';

type Quality = JudgedBackup['quality'];

/** What a backup is worth, with all that it needs. */
export interface Worth {
  quality: Quality;
  /** Why it is not good: a clause that begins with "it". */
  flaw: string | undefined;
}

const RANK: Readonly<Record<Quality, number>> = { good: 0, warned: 1, poor: 2 };

/** Of a backup by itself: what its own flaw is, a clause without its subject. */
function own({ state, quality, flaw }: JudgedBackup): { quality: Quality; flaw: string | undefined } {
  if (state !== 'complete') return { quality: 'poor', flaw: `is ${state}` };
  return { quality, flaw: quality === 'good' ? undefined : (flaw ?? `is ${quality}`) };
}

/**
 * What backups are worth: each no more than the least of those that it cannot be restored without, however indirectly. One
 * that needs what is not there is poor. Pure; ends for needs that go in a circle too.
 */
export function worthOf(backups: readonly JudgedBackup[]): (backup: JudgedBackup) => Worth {
  const byId = new Map(backups.map((backup) => [backup.backupId, backup]));
  return (backup) => {
    const { quality, flaw } = own(backup);
    let worst: Worth = { quality, flaw: flaw === undefined ? undefined : `it ${flaw}` };
    const seen = new Set([backup.backupId]);
    const queue = [...needsOf(backup)];
    for (let id = queue.shift(); id !== undefined && worst.quality !== 'poor'; id = queue.shift()) {
      if (seen.has(id)) continue;
      seen.add(id);
      const needed = byId.get(id);
      const found = needed === undefined ? ({ quality: 'poor', flaw: 'is not there' } as const) : own(needed);
      if (RANK[found.quality] > RANK[worst.quality])
        worst = { quality: found.quality, flaw: `it needs ${id}, which ${found.flaw ?? ''}` };
      if (needed !== undefined) queue.push(...needsOf(needed));
    }
    return worst;
  };
}
