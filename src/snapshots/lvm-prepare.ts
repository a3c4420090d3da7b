import { readFile } from 'node:fs/promises';
import os from 'node:os';
import { DEFAULT_LVM } from '../config/lvm-settings.js';
import { FsbackupError } from '../errors.js';
import { findLogicalVolume, readLogicalVolumes, type LogicalVolume } from '../system/lvm.js';
import { lvmDataOf, tagOf, volumeName, type LvmData } from './lvm-commands.js';
import { layersAbove, requireOpenable } from './lvm-layers.js';
import { poolHint, poolProblem } from './lvm-intact.js';
import { refuseLvm } from './lvm-refusal.js';
import { snapshotBytes } from './lvm-size.js';
import type { SnapshotRef, SnapshotRequest } from './provider.js';
import { suggested } from '../system/command-line.js';

function failed(message: string, hint: string): FsbackupError {
  return new FsbackupError('snapshotFailed', message, { hint });
}

/** What is left in each volume group after the snapshots that were planned before. */
type Room = Map<string, number>;

async function prepareOne(
  request: SnapshotRequest,
  volumes: readonly LogicalVolume[],
  room: Room,
  bootId: string,
): Promise<SnapshotRef> {
  const { filesystem, name, freezeMode, runId, lvm: settings = DEFAULT_LVM } = request;
  const { mount, stack } = filesystem;
  const lvm = stack === undefined ? undefined : findLogicalVolume(stack, volumes);
  const refusal = refuseLvm(lvm === undefined ? filesystem : { ...filesystem, lvm });
  if (lvm === undefined || refusal !== undefined) {
    throw failed(
      `${mount.mountpoint} cannot be snapshotted by LVM: ${refusal ?? 'its volume is gone'}`,
      `See \`${suggested('plan')}\` for what this host can snapshot.`,
    );
  }
  const { vg, lv, pool } = lvm;
  const kind = lvm.layout.includes('thin') ? 'thin' : 'classic';
  if (pool !== undefined) {
    const problem = poolProblem(vg, pool, settings.poolThresholdPercent);
    if (problem !== undefined) throw failed(`No snapshot of ${vg}/${lv}: ${problem}`, poolHint(vg, pool));
  }
  let sizeBytes = 0;
  if (kind === 'classic') {
    const free = room.get(vg) ?? lvm.vgFreeBytes;
    sizeBytes = snapshotBytes(lvm, settings.size, free);
    room.set(vg, free - sizeBytes);
  }
  const layers = layersAbove(stack ?? [], lvm.above) ?? [];
  const { keyFile = '' } = settings;
  await requireOpenable(layers, keyFile, `${vg}/${lv}`);
  const snapshot = volumeName(vg, name);
  if (volumes.some((one) => one.vg === vg && one.lv === snapshot)) {
    throw failed(`${vg}/${snapshot} exists already`, `See what it is (lvs ${vg}), and run: fsbackup recover`);
  }
  const data: LvmData = {
    kind,
    vg,
    lv,
    originUuid: lvm.uuid,
    snapshot,
    sizeBytes: String(sizeBytes),
    root: mount.root,
    isHeld: freezeMode === 'explicit' ? 'yes' : 'no',
    extend: settings.extend ? 'yes' : 'no',
    layers: JSON.stringify(layers),
    keyFile,
    poolThresholdPercent: String(settings.poolThresholdPercent),
    tags: [
      ...(runId === undefined ? [] : [tagOf('run', runId)]),
      tagOf('host', os.hostname()),
      tagOf('boot', bootId),
    ].join(','),
  };
  return {
    provider: 'lvm',
    name,
    mountpoint: mount.mountpoint,
    fstype: mount.fstype,
    // The freeze of device-mapper is the same freeze, of a filesystem straight on the volume.
    takenFrozen: freezeMode === 'explicit' || (freezeMode === 'native' && lvm.above.length === 0),
    data: { ...data },
  };
}

/**
 * Proves that LVM can make the snapshots, each with its room counted, and fixes their names and sizes. Reads only; lvs
 * is the same program as lvcreate, so that is in memory afterwards. Rejects with `snapshotFailed`.
 */
export async function prepareLvm(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
  const read = await readLogicalVolumes();
  if (!('volumes' in read))
    throw failed(`LVM cannot be asked: ${read.problem}`, 'See what this says: lvs -a');
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const room: Room = new Map();
  const refs: SnapshotRef[] = [];
  // In turn: each takes of the room that those before it left.
  for (const request of requests) refs.push(await prepareOne(request, read.volumes, room, bootId));
  const names = refs.map((ref) => `${lvmDataOf(ref).vg}/${lvmDataOf(ref).snapshot}`);
  if (new Set(names).size < names.length) throw new Error(`two snapshots of one name: ${names.join(', ')}`);
  return refs;
}
