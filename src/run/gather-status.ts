import type { MountedBackup } from '../copy/render-mounts.js';
import type { FreezeStatusReport } from '../freeze/freeze-status.js';
import type { LastRun } from './history.js';
import type { BaseStatus } from './release-bases.js';

/** What `status` is gathered from. */
export interface StatusReaders {
  freezes: () => Promise<FreezeStatusReport>;
  runs: () => Promise<LastRun[]>;
  mounts: () => Promise<MountedBackup[]>;
  bases: () => Promise<BaseStatus[]>;
}

/** What `status` shows, and why some of it is missing. */
export interface GatheredStatus {
  status: FreezeStatusReport & { runs: LastRun[]; bases: BaseStatus[]; mounts: MountedBackup[] };
  failures: unknown[];
}

/** Gathers what there is: somebody whose machine stands still must see what is frozen, whatever else is damaged. */
export async function gatherStatus(readers: StatusReaders): Promise<GatheredStatus> {
  const failures: unknown[] = [];
  const orNone = async <T>(reading: Promise<T>, none: T): Promise<T> =>
    await reading.catch((error: unknown) => {
      failures.push(error);
      return none;
    });
  const status = {
    ...(await orNone(readers.freezes(), { frozen: [], lost: [] })),
    runs: await orNone(readers.runs(), []),
    bases: await orNone(readers.bases(), []),
    mounts: await orNone(readers.mounts(), []),
  };
  return { status, failures };
}
