/** What decides at which instant a snapshot is taken. */
export interface InstantCandidate {
  /** The window that it is taken in; null: none. */
  window: number | null;
  /** Whether its filesystem is held frozen by us all the while that the snapshots of the window are taken. */
  isHeld: boolean;
  /** Snapshots of one window that name the same are made at one instant by their storage. */
  together?: string | undefined;
}

/**
 * Numbers the instants of snapshots, from 1, in the order of the candidates: those with the same number are known to be
 * at one instant. Null without a snapshot. Pure.
 *
 * What is held frozen is the same at every instant of its window, so it is at one instant with all others that are, and
 * with a snapshot that is made meanwhile; but not with two, since those have an instant each.
 */
export function numberInstants(candidates: readonly InstantCandidate[]): (number | null)[] {
  const ownKey = ({ together }: InstantCandidate, index: number): string => together ?? `${index}`;
  const ownInstants = new Map<number, Set<string>>();
  for (const [index, candidate] of candidates.entries()) {
    const { window, isHeld } = candidate;
    if (window === null || isHeld) continue;
    ownInstants.set(window, (ownInstants.get(window) ?? new Set()).add(ownKey(candidate, index)));
  }
  const numbers = new Map<string, number>();
  return candidates.map((candidate, index) => {
    const { window, isHeld } = candidate;
    if (window === null) return null;
    const isAlone = (ownInstants.get(window)?.size ?? 0) < 2;
    const key = JSON.stringify([window, isAlone || isHeld ? [] : ownKey(candidate, index)]);
    const number = numbers.get(key) ?? numbers.size + 1;
    numbers.set(key, number);
    return number;
  });
}
