import type { HostFacts } from './facts.js';

/** All filesystems under `majorMinor`: those that it is written to, those that these are, and so on. */
export function filesystemsBelow(majorMinor: string, layers: HostFacts['layers']): Set<string> {
  const below = new Set<string>();
  const pending = [...(layers[majorMinor] ?? [])];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (below.has(next)) continue;
    below.add(next);
    pending.push(...(layers[next] ?? []));
  }
  return below;
}

/** The filesystems that a write to any of `majorMinors` reaches: they and all below. */
export function reachedByWrites(majorMinors: Iterable<string>, layers: HostFacts['layers']): Set<string> {
  const reached = new Set<string>();
  for (const majorMinor of majorMinors) {
    reached.add(majorMinor);
    for (const below of filesystemsBelow(majorMinor, layers)) reached.add(below);
  }
  return reached;
}

/**
 * The upper of a stack before the lower: the order to freeze in. A filesystem has more below it than any of those
 * below it, so the count alone sorts; equals keep their order.
 */
export function topDown<T extends { majorMinor: string }>(
  items: readonly T[],
  layers: HostFacts['layers'],
): T[] {
  const depth = (item: T): number => filesystemsBelow(item.majorMinor, layers).size;
  return items.toSorted((a, b) => depth(b) - depth(a));
}
