import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describeFailure, runCommand } from '../../../src/system/run-command.js';
import { LabVolumeGroup } from '../../support/lvm-lab.js';
import { must } from '../../support/throwaway-filesystem.js';
import { Load } from '../load/load.js';
import { lvmWorld } from './lab-worlds.js';
import { SwitchableDisk } from './switchable-disk.js';
import type { World, WorldParts } from './world.js';

const TARGET_MIB = 128;
/** Only against hanging. */
const LIMIT_MS = 240_000;

/** As an administrator would, after its disk came back: its journal replayed, whatever is torn repaired. */
async function repairFilesystem(device: string, mountpoint: string): Promise<void> {
  await must('umount', mountpoint);
  const checked = await runCommand(['e2fsck', '-f', '-y', device], { timeoutMs: LIMIT_MS });
  // 1 and 2: it found errors, and mended them.
  if (checked.exitCode === undefined || checked.exitCode > 2)
    throw new Error(describeFailure('e2fsck', checked));
  await must('mount', device, mountpoint);
}

/** A target that can fail, in an image file: not below the world's directory, which is undone at the end. */
async function makeTarget(name: string): Promise<{ disk: SwitchableDisk; mountpoint: string }> {
  const directory = await mkdtemp(path.join(os.tmpdir(), `${name}-`));
  const image = path.join(directory, 'image');
  const file = await open(image, 'wx', 0o600);
  await file.truncate(TARGET_MIB * 1024 * 1024);
  await file.close();
  const disk = await SwitchableDisk.make(name, await must('losetup', '--find', '--show', image));
  await must('mkfs.ext4', '-q', '-F', disk.device);
  const mountpoint = path.join(directory, 'target');
  await mkdir(mountpoint);
  await must('mount', disk.device, mountpoint);
  return { disk, mountpoint };
}

/** A classic volume with ext4 on a disk, and a target on another, that can be told to stall and to fail. */
export async function breakingWorld(
  parts: WorldParts,
  disk: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<World> {
  const storage = await SwitchableDisk.make('switchable-storage', disk);
  const group = await LabVolumeGroup.make('chaos-classic', [storage.device]);
  const made = await lvmWorld('classic', parts, group, settings);
  const target = await makeTarget('switchable-target');
  const volume = (lv: string): { device: string; mountpoint: string } => ({
    device: `/dev/${group.vg}/${lv}`,
    mountpoint: path.join(group.directory, lv),
  });
  const [srv, beside] = [volume('srv'), volume('beside')];
  const world: World = {
    ...made,
    target: { ...made.target, device: target.disk.device, mountpoint: target.mountpoint },
    switchable: { storage, target: target.disk },
    repairTarget: () => repairFilesystem(target.disk.device, target.mountpoint),
    repair: async () => {
      await world.load.stop();
      await world.control.stop();
      for (const { device, mountpoint } of [srv, beside]) {
        await repairFilesystem(device, mountpoint);
        // A new load counts from 1 again.
        for (const name of await readdir(mountpoint))
          if (name.startsWith('epoch-')) await rm(path.join(mountpoint, name), { recursive: true });
      }
      world.load = new Load(parts.loadProgram, srv.mountpoint, parts.loadSlower);
      world.control = new Load(parts.loadProgram, beside.mountpoint, parts.loadSlower);
    },
  };
  return world;
}
