import { existsSync } from 'node:fs';
import pRetry from 'p-retry';
import { FsbackupError } from '../errors.js';
import { readLogicalVolumes, type LogicalVolume } from '../system/lvm.js';
import { describeFailure, runCommand, type CommandResult } from '../system/run-command.js';
import { devicePath, lvmDataOf, nameTag, refreshCommand, removeCommand } from './lvm-commands.js';
import type { SnapshotRef } from './provider.js';

const COMMAND_TIMEOUT_MS = 120_000;

/** The volumes of a group. Rejects with `cleanupIncomplete` where they cannot be had: what is not seen is not gone. */
export async function volumesOf(vg: string): Promise<readonly LogicalVolume[]> {
  const read = await readLogicalVolumes([vg]);
  if (!('problem' in read)) return read.volumes;
  throw new FsbackupError('cleanupIncomplete', `The volume group ${vg} cannot be read: ${read.problem}`, {
    hint: `Attach its disks and see what this says: lvs ${vg}. Then run: fsbackup recover`,
  });
}

/** The volumes that carry the snapshot's tag: itself, whole or in pieces. */
export async function ownVolumes(ref: SnapshotRef): Promise<readonly LogicalVolume[]> {
  const tag = nameTag(ref);
  return (await volumesOf(lvmDataOf(ref).vg)).filter((volume) => volume.tags.includes(tag));
}

/** Whether a volume is the snapshot, complete: of the right origin. */
export function isSnapshotOf(ref: SnapshotRef, volume: LogicalVolume): boolean {
  const { lv, snapshot } = lvmDataOf(ref);
  return volume.lv === snapshot && volume.origin === lv;
}

/**
 * Removes one volume. Of a thin one whose lvcreate was killed between the pool's making the snapshot and LVM's noting
 * it, LVM would have the pool make it once more before it is removed, which the pool refuses since it is there; with
 * a second `--force` LVM goes on, and has the pool delete it.
 */
async function lvremove(ref: SnapshotRef, { vg, lv }: LogicalVolume): Promise<CommandResult> {
  const removed = await runCommand(removeCommand(vg, lv), { timeoutMs: COMMAND_TIMEOUT_MS });
  const { kind } = lvmDataOf(ref);
  if (kind === 'classic' || !/Failed to (?:update|suspend) .*pool|queued messages/.test(removed.stderr))
    return removed;
  return await runCommand(removeCommand(vg, lv, { pastPool: true }), { timeoutMs: COMMAND_TIMEOUT_MS });
}

async function removeVolume(ref: SnapshotRef, volume: LogicalVolume): Promise<void> {
  const { vg, lv } = volume;
  const removed = await lvremove(ref, volume);
  if (removed.exitCode === 0) return;
  if (!(await ownVolumes(ref)).some((one) => one.lv === lv)) return;
  throw new FsbackupError(
    'cleanupIncomplete',
    `The snapshot ${vg}/${lv} could not be removed: ${describeFailure('lvremove', removed)}`,
    { hint: `End what uses it (lsblk ${devicePath(vg, lv)}), then run: fsbackup recover` },
  );
}

/**
 * A failed lvcreate may leave its origin with a hidden layer loaded that nothing uses (`VG-LV-real`), which stays when
 * the snapshot is removed, until the origin's own table is loaded anew.
 */
async function dropLayer(ref: SnapshotRef): Promise<void> {
  const { kind, vg, lv } = lvmDataOf(ref);
  if (kind === 'thin' || !existsSync(`${devicePath(vg, lv)}-real`)) return;
  const origin = (await volumesOf(vg)).find((volume) => volume.lv === lv);
  if (origin === undefined || origin.role.includes('thickorigin')) return;
  // Best effort: it costs nothing but a number, and the next snapshot takes it away as well.
  await runCommand(refreshCommand(vg, lv), { timeoutMs: COMMAND_TIMEOUT_MS });
}

/** Removes all that carries the snapshot's tag, and nothing else. Idempotent. Rejects with `cleanupIncomplete`. */
export async function removeOwnVolumes(ref: SnapshotRef): Promise<void> {
  for (const volume of await ownVolumes(ref)) {
    // A scan of the device by udev keeps it busy for an instant.
    await pRetry(() => removeVolume(ref, volume), { retries: 4, minTimeout: 200, factor: 2 });
  }
  await dropLayer(ref);
}
