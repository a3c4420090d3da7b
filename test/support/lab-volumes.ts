import { mkdtempSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readMounts } from '../../src/system/mountinfo.js';
import { labGuest } from './lab.js';
import { must, type ThrowawayType } from './throwaway-filesystem.js';
import { wipeDisks } from './wipe-disks.js';

const MKFS: Readonly<Record<ThrowawayType, [string, ...string[]]>> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
};

/** A volume group over the lab's disks, with what is mounted from it. */
export class LabVolumes {
  readonly vg: string;
  readonly directory: string;
  readonly #disks: readonly string[];

  private constructor(vg: string, disks: readonly string[]) {
    this.vg = vg;
    this.#disks = disks;
    this.directory = mkdtempSync(path.join(os.tmpdir(), 'lab-'));
  }

  /** Makes the group `vg` over so many of the disks. */
  static async make(vg: string, diskCount: number): Promise<LabVolumes> {
    const disks = labGuest().disks.slice(0, diskCount);
    if (disks.length < diskCount)
      throw new Error(`the lab has ${disks.length} disks, ${diskCount} are needed`);
    await wipeDisks(disks);
    await must('vgcreate', '--quiet', '--yes', vg, ...disks);
    return new LabVolumes(vg, disks);
  }

  /** `lvcreate ARGUMENTS VG DISK…` */
  async create(...args: string[]): Promise<void> {
    await must('lvcreate', '--quiet', '--yes', '--wipesignatures', 'y', ...args, this.vg, ...this.#disks);
  }

  /** Makes a filesystem on the volume and mounts it; returns the mountpoint. */
  async mount(lv: string, fstype: ThrowawayType): Promise<string> {
    const mountpoint = path.join(this.directory, lv);
    await mkdir(mountpoint);
    await must(...MKFS[fstype], `/dev/${this.vg}/${lv}`);
    await must('mount', `/dev/${this.vg}/${lv}`, mountpoint);
    return mountpoint;
  }

  /** Waits until a mirror is in sync. */
  async inSync(lv: string): Promise<void> {
    for (let round = 0; round < 600; round += 1) {
      const percent = await must('lvs', '--noheadings', '-o', 'sync_percent', `${this.vg}/${lv}`);
      if (percent === '100.00') return;
      await sleep(100);
    }
    throw new Error(`${this.vg}/${lv} does not come into sync`);
  }

  /** All that a run may leave: volumes, device-mapper devices and their state, mounts, loop devices. */
  async held(): Promise<string[]> {
    const volumes = await must('lvs', '-a', '--noheadings', '-o', 'lv_full_name,lv_layout,lv_role,lv_tags');
    const devices = await must('dmsetup', 'info', '-c', '--noheadings', '-o', 'name,suspended,readonly');
    const mounts = (await readMounts()).map(({ mountpoint, source }) => `${source} at ${mountpoint}`);
    const loops = await must('losetup', '--noheadings', '--list', '-O', 'NAME,BACK-FILE');
    const lines = [volumes, devices, loops].flatMap((text) => text.split('\n'));
    return [...lines.map((line) => line.trim().replaceAll(/\s+/g, ' ')), ...mounts].toSorted();
  }

  /** Unmounts and removes everything. */
  async dispose(): Promise<void> {
    for (const { mountpoint } of (await readMounts()).toReversed()) {
      if (mountpoint.startsWith(`${this.directory}/`)) await must('umount', mountpoint);
    }
    await must('vgremove', '--quiet', '--force', '--yes', this.vg);
    await must('pvremove', '--quiet', '--yes', ...this.#disks);
    for (const name of await readdir(this.directory)) {
      await rm(path.join(this.directory, name), { recursive: true, force: true });
    }
    await rm(this.directory, { recursive: true });
  }
}
