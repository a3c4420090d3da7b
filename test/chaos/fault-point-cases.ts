import { listFaultPoints, type FaultPoint } from '../support/fault-points.js';
import type { Action } from './fault-point-outcomes.js';

/** What is attacked, and how; the name first, for titles of tests. */
export type FaultCase = [name: string, action: Action, point: FaultPoint];

const ACTIONS: readonly Action[] = ['kill', 'stop', 'fail:EIO'];

/** Which boundaries are attacked where; each of them somewhere. */
export const ATTACKED = {
  /** test/chaos/fault-points.test.ts: all but those of providers that the host's kernel has nothing for. */
  host: (name: string) => !/^(?:lvm|mirror|zfs)\./.test(name),
  // The others: test/lab/fault-points.test.ts.
  /** LVM that freezes by itself. */
  native: (name: string) => name.startsWith('lvm.') && name !== 'lvm.made-ready',
  /** LVM in a freeze of ours: what is done before it, and what is done in it. */
  held: (name: string) => ['lvm.made-ready', 'lvm.created'].includes(name),
  mirror: (name: string) => name.startsWith('mirror.'),
  zfs: (name: string) => name.startsWith('zfs.'),
} as const;

/**
 * The cases of these boundaries, in such an order that guests which take every second or third of them all meet each
 * action, and each boundary is met by more than one guest.
 */
export function casesOf(place: keyof typeof ATTACKED): FaultCase[] {
  const points = listFaultPoints().filter(({ name }) => ATTACKED[place](name));
  return ACTIONS.flatMap((action, turn) =>
    [...points.slice(turn), ...points.slice(0, turn)]
      .filter(({ canFail }) => action !== 'fail:EIO' || canFail)
      .map((point): FaultCase => [point.name, action, point]),
  );
}
