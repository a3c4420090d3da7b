import type { JournalEntry } from './entry.js';

/** Which of its run's entries it is, counted from 0: the number in the id that `openJournal` gives. */
function placeInRun({ id, runId }: Pick<JournalEntry, 'id' | 'runId'>): number {
  return Number.parseInt(id.slice(runId.length + 1), 10);
}

type Dated = Pick<JournalEntry, 'id' | 'runId' | 'bootId' | 'startTime' | 'createdAt'>;

/**
 * The entries in the reverse of the order in which they were written. The wall clock, which may have been set back between
 * any two of them, decides only between boots, and between runs of one process, which are released apart. Pure.
 */
export function newestFirst<T extends { entry: Dated }>(found: readonly T[]): T[] {
  const boots = new Map<string, string>();
  for (const { entry } of found) {
    const known = boots.get(entry.bootId) ?? '';
    if (entry.createdAt > known) boots.set(entry.bootId, entry.createdAt);
  }
  const whenLast = ({ bootId }: Dated): string => `${boots.get(bootId) ?? ''} ${bootId}`;
  return found.toSorted(
    ({ entry: a }, { entry: b }) =>
      whenLast(b).localeCompare(whenLast(a)) ||
      b.startTime - a.startTime ||
      b.runId.localeCompare(a.runId) ||
      placeInRun(b) - placeInRun(a),
  );
}
