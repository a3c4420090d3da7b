import type { MountedBackup } from '../copy/mount/render-mounts.js';
import type { FreezeStatusReport } from '../freeze/freeze-status.js';
import type { HeldStatus } from './held-status.js';
import type { LastRun } from './history.js';
import type { BaseStatus } from './release-bases.js';

/** What `status` is gathered from. */
export interface StatusReaders {
  freezes: () => Promise<FreezeStatusReport>;
  held: () => Promise<HeldStatus>;
  runs: () => Promise<LastRun[]>;
  mounts: () => Promise<MountedBackup[]>;
  bases: () => Promise<BaseStatus[]>;
}

/** What `status` tells. */
export type Status = FreezeStatusReport &
  HeldStatus & { runs: LastRun[]; bases: BaseStatus[]; mounts: MountedBackup[] };

/** What `status` shows, and why some of it is missing. */
export interface GatheredStatus {
  status: Status;
  /** What is empty because it could not be read. */
  unread: (keyof Status)[];
  failures: unknown[];
}

/** Gathers what there is: somebody whose machine stands still must see what is frozen, whatever else is damaged. */
export async function gatherStatus(readers: StatusReaders): Promise<GatheredStatus> {
  const failures: unknown[] = [];
  const unread: (keyof Status)[] = [];
  const orNone = async <T>(what: readonly (keyof Status)[], reading: Promise<T>, none: T): Promise<T> =>
    await reading.catch((error: unknown) => {
      failures.push(error);
      unread.push(...what);
      return none;
    });
  const status = {
    ...(await orNone(['frozen', 'lost'], readers.freezes(), { frozen: [], lost: [] })),
    ...(await orNone(['running', 'leftBehind'], readers.held(), { running: [], leftBehind: [] })),
    runs: await orNone(['runs'], readers.runs(), []),
    bases: await orNone(['bases'], readers.bases(), []),
    mounts: await orNone(['mounts'], readers.mounts(), []),
  };
  return { status, unread, failures };
}
