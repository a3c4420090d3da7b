import type { FreezeMode } from '../snapshots/provider.js';
import type { HostFacts } from './facts.js';
import { topDown } from './layers.js';
import type { PlannedWindow } from './plan.js';

/** What grouping needs to know of a source. */
export interface WindowCandidate {
  /** Into the plan's sources. */
  index: number;
  majorMinor: string;
  freezeMode: FreezeMode;
  /** `major:minor` that its snapshot writes to. */
  writes: ReadonlySet<string>;
}

interface Group {
  members: WindowCandidate[];
}

function frozenBy(group: Group): WindowCandidate[] {
  return group.members.filter((member) => member.freezeMode === 'explicit');
}

/** True when taking both snapshots in one window has none of them write to what is frozen for the other. */
function fits(candidate: WindowCandidate, group: Group): boolean {
  if (frozenBy(group).some((frozen) => candidate.writes.has(frozen.majorMinor))) return false;
  if (candidate.freezeMode !== 'explicit') return true;
  return !group.members.some((member) => member.writes.has(candidate.majorMinor));
}

/**
 * Puts the snapshots into as few windows as are safe: only what is in one window can be at one instant. Sources without
 * a snapshot are in none. Within a window each filesystem is frozen once, top-down.
 */
export function groupIntoWindows(
  candidates: readonly WindowCandidate[],
  layers: HostFacts['layers'],
): PlannedWindow[] {
  const groups: Group[] = [];
  for (const candidate of topDown(candidates, layers)) {
    if (candidate.freezeMode === 'none') continue;
    const group = groups.find((existing) => fits(candidate, existing));
    if (group === undefined) groups.push({ members: [candidate] });
    else group.members.push(candidate);
  }
  return groups.map((group) => {
    const seen = new Set<string>();
    const freeze = frozenBy(group).filter((member) => {
      if (seen.has(member.majorMinor)) return false;
      seen.add(member.majorMinor);
      return true;
    });
    return {
      freeze: topDown(freeze, layers).map((member) => member.index),
      snapshots: group.members.map((member) => member.index).toSorted((a, b) => a - b),
    };
  });
}
