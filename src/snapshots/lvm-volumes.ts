import { existsSync } from 'node:fs';
import path from 'node:path';
import pRetry from 'p-retry';
import { FsbackupError } from '../errors.js';
import { readLogicalVolumes, type LogicalVolume } from '../system/lvm.js';
import { underPassingLock } from '../system/passing-lock.js';
import { describeFailure, runCommand, type CommandResult } from '../system/run-command.js';
import type { Argv } from './command-line.js';
import { devicePath, lvmDataOf, nameTag, refreshCommand, removeCommand } from './lvm-commands.js';
import type { SnapshotRef } from './provider.js';

const COMMAND_TIMEOUT_MS = 120_000;
/** LVM's own locks, of one host. */
const LOCKING_DIRECTORY = '/run/lock/lvm';
const LOCK_WAIT_MS = 30_000;

/**
 * Runs a program of device-mapper's, which takes no lock of LVM's by itself, while no LVM command of this host is at the
 * group. Undefined when one stays at it, and where LVM has made no locks: then nothing was run.
 */
async function underGroupLock(vg: string, argv: Argv): Promise<CommandResult | undefined> {
  if (!existsSync(LOCKING_DIRECTORY)) return undefined;
  return await underPassingLock(path.join(LOCKING_DIRECTORY, `V_${vg}`), LOCK_WAIT_MS, () =>
    runCommand(argv, { timeoutMs: COMMAND_TIMEOUT_MS }),
  );
}

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

/** How often a device is in use, undefined without one; by device-mapper, since one without a table has no node. */
async function usesOf(device: string): Promise<number | undefined> {
  const argv = ['dmsetup', 'info', '--columns', '--noheadings', '--options', 'open', '--', device] as const;
  const info = await runCommand(argv, { timeoutMs: COMMAND_TIMEOUT_MS });
  return info.exitCode === 0 ? Number(info.stdout) : undefined;
}

/** Removes a device that nobody uses, LVM knowing nothing of it. Best effort: it costs nothing but a number. */
async function dropDevice(vg: string, device: string): Promise<void> {
  if ((await usesOf(device)) !== 0) return;
  await underGroupLock(vg, ['dmsetup', 'remove', '--retry', '--', device]);
}

/** The devices of the snapshot itself, which a killed lvcreate made before LVM noted it. */
async function dropOwnDevices(ref: SnapshotRef): Promise<void> {
  const { vg, snapshot } = lvmDataOf(ref);
  const device = path.basename(devicePath(vg, snapshot));
  for (const one of [device, `${device}-cow`]) await dropDevice(vg, one);
}

/**
 * A killed lvcreate may leave a hidden layer (`VG-LV-real`) that has no table or is not in use, and a table for the
 * origin that leads there, loaded and not live. Whatever resumes the origin next would make that live, `lvchange
 * --refresh` too, which loads nothing when the live one is as it should be: I/O errors for the filesystem. So that table
 * is dropped first, then the layer, each while no LVM command is at the group.
 */
async function dropLayer(ref: SnapshotRef): Promise<void> {
  const { kind, vg, lv } = lvmDataOf(ref);
  const device = path.basename(devicePath(vg, lv));
  const layer = `${device}-real`;
  const run = (argv: Argv) => runCommand(argv, { timeoutMs: COMMAND_TIMEOUT_MS });
  if (kind === 'thin' || (await usesOf(layer)) === undefined) return;
  const origin = (await volumesOf(vg)).find((volume) => volume.lv === lv);
  // Under an origin that has other snapshots it is at its place.
  if (origin === undefined || origin.role.includes('thickorigin')) return;
  const cleared = await underGroupLock(vg, ['dmsetup', 'clear', '--', device]);
  if (cleared?.exitCode !== 0) {
    const why =
      cleared === undefined ? `nobody gets LVM's lock of ${vg}` : describeFailure('dmsetup', cleared);
    throw new FsbackupError(
      'cleanupIncomplete',
      `The half-made table of ${device} could not be dropped: ${why}`,
      {
        hint: `When no LVM command is at ${vg} any more, run: fsbackup recover`,
      },
    );
  }
  // It is live where the kill came late: the origin's own table takes its place.
  if ((await usesOf(layer)) !== 0) await run(refreshCommand(vg, lv));
  await dropDevice(vg, layer);
}

/** Removes all that carries the snapshot's tag, and nothing else. Idempotent. Rejects with `cleanupIncomplete`. */
export async function removeOwnVolumes(ref: SnapshotRef): Promise<void> {
  for (const volume of await ownVolumes(ref)) {
    // A scan of the device by udev keeps it busy for an instant.
    await pRetry(() => removeVolume(ref, volume), { retries: 4, minTimeout: 200, factor: 2 });
  }
  await dropOwnDevices(ref);
  await dropLayer(ref);
}
