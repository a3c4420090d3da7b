import { FsbackupError } from '../errors.js';
import { readLogicalVolumes, type LogicalVolume, type ThinPool } from '../system/lvm.js';
import { looksFrozen } from '../system/looks-frozen.js';
import { runCommand } from '../system/run-command.js';
import { devicePath, extendCommand, lvmDataOf } from './lvm-commands.js';
import { isSnapshotOf } from './lvm-volumes.js';
import type { SnapshotRef } from './provider.js';

/** From here on a classic snapshot is extended, when it may be. */
const EXTEND_PERCENT = 70;
/** Here the copy is given up: the next look may come too late, and the kernel would have thrown the snapshot away. */
const STOP_PERCENT = 95;
/** By this share of itself it is extended. */
const EXTEND_SHARE = 0.5;
const EXTEND_TIMEOUT_MS = 60_000;

function lost(message: string, hint: string): FsbackupError {
  return new FsbackupError('snapshotInvalid', message, { hint });
}

/** A clause for a pool that is over its threshold; undefined for one that is not. Pure. */
export function poolProblem(vg: string, pool: ThinPool, thresholdPercent: number): string | undefined {
  const { lv, dataPercent = 100, metadataPercent = 100, whenFull } = pool;
  const full = Math.max(dataPercent, metadataPercent);
  if (full < thresholdPercent) return undefined;
  const what = dataPercent >= metadataPercent ? 'data' : 'metadata';
  const then = whenFull === 'queue' ? 'when it is full, all writers wait' : 'when it is full, writes fail';
  return `the thin pool ${vg}/${lv} is filled to ${full} % (${what}), over the threshold of ${thresholdPercent} %; ${then}`;
}

/** The way out for it. */
export function poolHint(vg: string, { lv }: ThinPool): string {
  return `Extend it (lvextend -L +SIZE ${vg}/${lv}; its metadata: lvextend --poolmetadatasize +SIZE ${vg}/${lv}), or remove old thin snapshots.`;
}

/**
 * Whether somebody may hold the origin frozen. On kernels that leak, to extend its snapshot then, which suspends it, makes
 * it unmountable (measured on 6.12.107); and nothing is written meanwhile that would fill the snapshot.
 */
async function mayBeFrozen({ mountpoint, fstype }: SnapshotRef, { vg, lv }: LogicalVolume): Promise<boolean> {
  return (await looksFrozen({ mountpoint, fstype, device: devicePath(vg, lv) })) === true;
}

/** Takes more room of the volume group; false when there is none, or when it may not. */
async function extend(ref: SnapshotRef, volume: LogicalVolume): Promise<boolean> {
  const data = lvmDataOf(ref);
  if (data.extend === 'no') return false;
  const { vgExtentBytes, vgFreeBytes, sizeBytes } = volume;
  const wanted = Math.ceil((sizeBytes * EXTEND_SHARE) / vgExtentBytes) * vgExtentBytes;
  const room = Math.floor(vgFreeBytes / vgExtentBytes) * vgExtentBytes;
  const byBytes = Math.min(wanted, room);
  if (byBytes === 0) return false;
  return (await runCommand(extendCommand(data, byBytes), { timeoutMs: EXTEND_TIMEOUT_MS })).exitCode === 0;
}

async function checkClassic(
  ref: SnapshotRef,
  volume: LogicalVolume,
  origin: LogicalVolume | undefined,
): Promise<void> {
  const { vg, lv } = volume;
  const { dataPercent = 0, isInvalid } = volume;
  const hint = `Set a larger \`lvm.size\` for this source, or \`lvm.extend: true\`; the volume group ${vg} must have the room.`;
  if (isInvalid || dataPercent >= 100) {
    throw lost(`The snapshot ${vg}/${lv} overflowed: the kernel has invalidated it`, hint);
  }
  if (dataPercent < EXTEND_PERCENT) return;
  // The next look finds it thawed, or as full as now.
  const isHeld = origin !== undefined && (await mayBeFrozen(ref, origin));
  if (!isHeld && (await extend(ref, volume))) return;
  // One that could take a copy of every block cannot overflow.
  const isWhole = origin !== undefined && volume.sizeBytes >= origin.sizeBytes + volume.vgExtentBytes;
  if (dataPercent < STOP_PERCENT || isWhole) return;
  throw lost(`The snapshot ${vg}/${lv} is filled to ${dataPercent} % and about to overflow`, hint);
}

/**
 * Rejects with `snapshotInvalid` for a snapshot that is lost or about to be: overflowed, gone, in a pool over its
 * threshold. Extends a classic one that fills up, when the configuration lets it.
 */
export async function checkLvmIntact(ref: SnapshotRef): Promise<void> {
  const { kind, vg, lv, snapshot, poolThresholdPercent } = lvmDataOf(ref);
  const read = await readLogicalVolumes([vg]);
  if (!('volumes' in read)) {
    throw lost(
      `Whether the snapshot ${vg}/${snapshot} is intact cannot be told: ${read.problem}`,
      `See: lvs ${vg}`,
    );
  }
  const volume = read.volumes.find((one) => isSnapshotOf(ref, one));
  if (volume === undefined) {
    throw lost(`The snapshot ${vg}/${snapshot} is gone`, 'See who removed it, and run the job again.');
  }
  if (kind === 'classic') {
    await checkClassic(
      ref,
      volume,
      read.volumes.find((one) => one.lv === lv),
    );
    return;
  }
  const problem =
    volume.pool === undefined ? undefined : poolProblem(vg, volume.pool, Number(poolThresholdPercent));
  if (problem !== undefined && volume.pool !== undefined) {
    throw lost(`The copy was ended before the pool is full: ${problem}`, poolHint(vg, volume.pool));
  }
}
