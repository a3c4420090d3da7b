import pRetry from 'p-retry';
import { messageOf } from '../../errors.js';
import type { Journal } from '../../journal/journal.js';
import type { SnapshotRef } from '../../snapshots/provider.js';
import {
  poolDevice,
  readThinBirth,
  readThinDelta,
  readThinMappings,
  readThinVolumes,
  hasReservedMetadata,
  releaseMetadata,
  reserveMetadata,
  type ThinDelta,
  type ThinVolume,
} from '../../system/thin-pool.js';
import type { CopyBase } from '../engine.js';
import type { Extent } from './extents.js';

/** Another program may read the metadata of the pool just now; there is one reservation for each pool. */
const BUSY = { retries: 8, minTimeout: 250, factor: 2, maxTimeout: 8000 };

/** What a thin pool says of a snapshot. */
export interface ThinFacts {
  /** What proves later that a volume is this snapshot. */
  identity: string;
  /** All that it has, where there is no increment; undefined: not known. */
  mapped: Extent[] | undefined;
  /** What differs from the base. */
  increment: ThinDelta | undefined;
  /** Why there is no increment although there was a base: a clause. */
  problem: string | undefined;
}

type Entry = Awaited<ReturnType<Journal['record']>>;

interface Place {
  vg: string;
  pool: string;
}

/** Has the pool keep its metadata. Rejects when it does so for somebody else. */
async function reserve(device: string, journal: Journal | undefined): Promise<Entry | undefined> {
  // Looked at before it is journalled: what a killed run waited for is another's, and not for `recover` to release.
  if (await hasReservedMetadata(device)) throw new Error('it keeps its metadata for another program');
  const entry = await journal?.record('pool-metadata', { device });
  try {
    await reserveMetadata(device);
  } catch (error) {
    await entry?.remove();
    throw error;
  }
  return entry;
}

/** Runs `work` while the pool keeps its metadata for it. They are released whatever happens, by `recover` at the latest. */
async function withMetadata<T>(
  { vg, pool }: Place,
  journal: Journal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const device = poolDevice(vg, pool);
  const entry = await pRetry(() => reserve(device, journal), BUSY);
  try {
    return await work();
  } finally {
    await releaseMetadata(device);
    await entry?.remove();
  }
}

async function identify(volume: ThinVolume, place: Place): Promise<string | undefined> {
  const birth = await readThinBirth(place, volume.thinId);
  return birth === undefined
    ? undefined
    : `${volume.poolUuid} ${volume.uuid} ${volume.thinId} ${birth}${volume.isReadOnly ? '' : ' writable'}`;
}

/** The kept volume that is proven to be what it was, or why there is none. */
async function findKept(
  ref: SnapshotRef,
  volumes: readonly ThinVolume[],
  place: Place,
  base: CopyBase,
): Promise<ThinVolume | string> {
  const kept = base.snapshots.find(
    ({ snapshot }) => snapshot.provider === 'lvm' && snapshot.data['originUuid'] === ref.data['originUuid'],
  );
  if (kept === undefined) return 'nothing was kept of this volume';
  const volume = volumes.find(({ lv }) => lv === kept.snapshot.data['snapshot']);
  if (volume === undefined) return 'the snapshot that was kept for it is not there any more';
  if (volume.pool !== place.pool || (await identify(volume, place)) !== kept.identity)
    return 'the snapshot that was kept for it is another, or was changed';
  return volume;
}

/**
 * Asks the thin pool of a snapshot what differs from `base`, or, where there is none that is proven, what it has at all.
 * Undefined where the snapshot is no thin volume with the filesystem straight on it. What the pool cannot tell is no
 * failure: it is then read whole.
 */
export async function readThinFacts(
  ref: SnapshotRef,
  base: CopyBase | undefined,
  journal: Journal | undefined,
): Promise<ThinFacts | undefined> {
  const { kind, vg, snapshot, layers } = ref.data;
  if (ref.provider !== 'lvm' || kind !== 'thin' || vg === undefined || layers !== '[]') return undefined;
  const volumes = (await readThinVolumes(vg)) ?? [];
  const volume = volumes.find(({ lv }) => lv === snapshot);
  if (volume === undefined) return undefined;
  const place = { vg, pool: volume.pool };
  try {
    return await withMetadata(place, journal, async () => {
      const identity = await identify(volume, place);
      if (identity === undefined) throw new Error('thin_ls does not know the snapshot');
      const kept = base === undefined ? undefined : await findKept(ref, volumes, place, base);
      if (kept === undefined || typeof kept === 'string') {
        const mapped = await readThinMappings(place, volume.thinId);
        return { identity, mapped, increment: undefined, problem: kept };
      }
      const increment = await readThinDelta(place, kept.thinId, volume.thinId);
      return { identity, mapped: undefined, increment, problem: undefined };
    });
  } catch (error) {
    const problem = `the thin pool ${vg}/${volume.pool} cannot tell what changed: ${messageOf(error)}`;
    return { identity: '', mapped: undefined, increment: undefined, problem };
  }
}
