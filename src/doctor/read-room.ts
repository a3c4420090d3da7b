import type { PlannedSource } from '../plan/plan.js';
import { readSpace } from '../system/filesystem-space.js';
import { parseRows, poolOf, runZfs } from '../system/zfs.js';
import type { PoolState, RoomFacts } from './check-room.js';

async function readPool(dataset: string): Promise<PoolState | undefined> {
  const name = poolOf(dataset);
  const { exitCode, stdout } = await runZfs(['zpool', 'list', '-H', '-p', '-o', 'capacity,health', name]);
  const [[capacity, health] = []] = parseRows(stdout);
  if (exitCode !== 0 || health === undefined) return undefined;
  return { name, capacityPercent: Number(capacity), health };
}

/** Where the snapshot of a planned source takes its room from. Reads only. */
export async function readRoom({ provider, filesystem }: PlannedSource): Promise<RoomFacts> {
  const { mount, freeBytes, totalBytes } = filesystem;
  switch (provider) {
    case 'btrfs':
      return { shared: { mountpoint: mount.mountpoint, freeBytes, totalBytes } };
    case 'reflink': {
      const storage = filesystem.images?.[0]?.mount?.mountpoint;
      const space = storage === undefined ? undefined : await readSpace(storage);
      return storage === undefined || space === undefined
        ? {}
        : { shared: { mountpoint: storage, ...space } };
    }
    case 'lvm':
      return filesystem.lvm === undefined ? {} : { lvm: filesystem.lvm };
    case 'zfs': {
      const pool = await readPool(filesystem.zfs?.dataset ?? mount.source);
      return pool === undefined ? {} : { pool };
    }
    default:
      return {};
  }
}
