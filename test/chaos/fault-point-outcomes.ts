import type { FaultPoint } from '../support/fault-points.js';

export type Action = 'kill' | 'stop' | 'fail:EIO';

/** Boundaries that a run comes to only when something else has gone wrong before, and what. */
const PROVOCATIONS: Readonly<Record<string, readonly string[]>> = {
  'guard.deadline': ['window.frozen=stop'],
  // And not the command line's stop: then there would be nobody left.
  'second.deadline': ['guard.deadline=stop'],
  'guard.holder-gone': ['window.frozen=kill'],
  // The watchdog would else have thawed, and told the second to end, before that one looks.
  'second.holder-gone': ['window.frozen=kill', 'guard.holder-gone=delay:300'],
  'second.partner-gone': ['guard.thaw-asked=kill'],
};

/** How long a snapshot must take for these boundaries to be come to: past the first reset, past the deadline. */
export function snapshotSeconds(name: string, timeoutMs: number): number {
  if (name === 'guard.probing' || name === 'guard.probed') return (timeoutMs * 0.65) / 1000;
  return name === 'second.deadline' ? (timeoutMs * 1.5) / 1000 : 0;
}

export function provocationOf(name: string): readonly string[] {
  return PROVOCATIONS[name] ?? [];
}

/** While the filesystem is frozen, or is about to be: whoever stops here longer than the timeout loses the freeze. */
const FROZEN =
  /^(?:freeze\.call|window\.frozen|window\.created|reflink\.cloned|command\.created|lvm\.created|mirror\.split)/;

/** The ways in which a run may end that is stopped here, and continued once nobody waits for it. */
function stopped(name: string, isHeld: boolean): readonly (number | string)[] {
  if (isHeld && FROZEN.test(name)) return [21];
  if (PROVOCATIONS[name]?.includes('window.frozen=kill') === true) return ['SIGKILL'];
  if (PROVOCATIONS[name]?.includes('window.frozen=stop') === true) return [21];
  if (name === 'second.deadline') return [21];
  // A guard that never answers is given up: nothing is frozen then.
  if (name === 'second.starting' || name === 'guard.starting' || name === 'guard.armed') return [1, 21];
  // Whoever else thaws does it in time, or it is lost.
  if (/^(?:guard|second)\./.test(name)) return [0, 21];
  return [0];
}

function killed(name: string): readonly (number | string)[] {
  if (PROVOCATIONS[name]?.includes('window.frozen=kill') === true) return ['SIGKILL'];
  if (PROVOCATIONS[name]?.includes('window.frozen=stop') === true) return [21];
  if (name === 'second.deadline') return [21];
  if (name === 'second.starting' || name === 'guard.starting') return [1];
  if (name === 'guard.armed') return [1, 21];
  if (/^(?:guard|second)\./.test(name)) return [0, 21];
  return ['SIGKILL'];
}

function failed(name: string): readonly (number | string)[] {
  if (name === 'freeze.calling') return [20];
  if (name === 'second.starting' || name === 'guard.starting') return [1];
  // The thaw is the command line's then; a freeze that cannot be proven is given up.
  if (name.startsWith('guard.')) return [0, 21];
  // What was released is called held, which `recover` puts right.
  if (/\.(?:released|unmounted|unlinked|unexposed|removed|deleted|merged|destroyed)$/.test(name)) return [60];
  // The backup is good, whatever becomes of old ones and of the history.
  if (name === 'run.retained' || name === 'run.recorded' || name.startsWith('base.')) return [3];
  return [1];
}

/**
 * The ways in which a run may end, exit codes or signals, when a boundary is made to do this; `isHeld` where the freeze
 * is fsbackup's own, and not one of the snapshot command's that ends with it.
 */
export function outcomesOf(
  { name }: FaultPoint,
  action: Action,
  isHeld: boolean,
): readonly (number | string)[] {
  if (action === 'kill') return killed(name);
  return action === 'stop' ? stopped(name, isHeld) : failed(name);
}
