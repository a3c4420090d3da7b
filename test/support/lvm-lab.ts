import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readLogicalVolumes, type LogicalVolume } from '../../src/system/lvm.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { runCommand } from '../../src/system/run-command.js';
import { must, type ThrowawayType } from './throwaway-filesystem.js';
import { wipeDisks } from './wipe-disks.js';

/** A volume on the disks of the lab, mounted. */
export interface LabVolume {
  lv: string;
  mountpoint: string;
  /** `/dev/VG/LV` */
  device: string;
}

export interface LabVolumeOptions {
  lv: string;
  fstype: 'ext4' | 'xfs';
  sizeMiB?: number;
  /** A thin volume in this pool. */
  pool?: string;
}

const MKFS: Readonly<Record<ThrowawayType, [string, ...string[]]>> = {
  // Nothing is left for the kernel to write in the background: that would fill snapshots.
  ext4: ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0'],
  xfs: ['mkfs.xfs', '-q', '-f'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
};

const VOLUME_COLUMNS = 'lv_full_name,lv_layout,lv_attr,lv_role,lv_tags';
/** Some hundred MiB, on a guest that gets a tenth of a processor. */
const IN_SYNC_MS = 900_000;
const DEVICE_COLUMNS = 'name,suspended,readonly,open';

function linesOf(text: string): string[] {
  return text.split('\n').map((line) => line.trim().replaceAll(/\s+/g, ' '));
}

/** A volume group on whole disks of the lab's guest; all of it is undone by `dispose`, frozen or not. */
export class LabVolumeGroup {
  readonly vg: string;
  readonly directory: string;
  readonly #disks: readonly string[];

  private constructor(vg: string, directory: string, disks: readonly string[]) {
    this.vg = vg;
    this.directory = directory;
    this.#disks = disks;
  }

  static async make(vg: string, disks: readonly string[]): Promise<LabVolumeGroup> {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'lvm-lab-'));
    await wipeDisks(disks);
    await must('pvcreate', '--quiet', '--yes', '--force', '--', ...disks);
    await must('vgcreate', '--quiet', '--', vg, ...disks);
    return new LabVolumeGroup(vg, directory, disks);
  }

  async #lvcreate(...args: string[]): Promise<void> {
    await must('lvcreate', '--quiet', '--yes', ...args, '--', this.vg);
  }

  /** `lvcreate ARGUMENTS VG`, of a volume to write to: what was on the disk before is wiped. */
  async create(...args: string[]): Promise<void> {
    await this.#lvcreate('-Wy', ...args);
  }

  async pool(lv: string, sizeMiB: number): Promise<void> {
    // lvcreate refuses to wipe what nobody writes to.
    await this.#lvcreate('--type', 'thin-pool', '-L', `${sizeMiB}m`, '-n', lv);
  }

  /** Makes a filesystem on the volume and mounts it. */
  async mount(lv: string, fstype: ThrowawayType): Promise<LabVolume> {
    const device = `/dev/${this.vg}/${lv}`;
    await must(...MKFS[fstype], device);
    const mountpoint = path.join(this.directory, lv);
    await mkdir(mountpoint);
    await must('mount', device, mountpoint);
    return { lv, mountpoint, device };
  }

  async volume({ lv, fstype, sizeMiB = 320, pool }: LabVolumeOptions): Promise<LabVolume> {
    const how = pool === undefined ? ['-L', `${sizeMiB}m`] : ['-V', `${sizeMiB}m`, '--thinpool', pool];
    await this.create(...how, '-n', lv);
    return await this.mount(lv, fstype);
  }

  /** Waits until a mirror is in sync. */
  async inSync(lv: string): Promise<void> {
    const deadline = performance.now() + IN_SYNC_MS;
    let percent = '';
    while (performance.now() < deadline) {
      percent = await must('lvs', '--noheadings', '-o', 'sync_percent', `${this.vg}/${lv}`);
      if (percent === '100.00') return;
      // Each look takes from the one processor that the mirror is synced with.
      await sleep(500);
    }
    throw new Error(`${this.vg}/${lv} does not come into sync: it is at ${percent} %`);
  }

  async volumes(): Promise<readonly LogicalVolume[]> {
    const read = await readLogicalVolumes([this.vg]);
    if ('problem' in read) throw new Error(read.problem);
    return read.volumes;
  }

  /** All of its volumes, hidden ones too, and their devices of device-mapper, a line each. */
  async state(): Promise<string[]> {
    const volumes = await must('lvs', '-a', '--noheadings', '-o', VOLUME_COLUMNS, this.vg);
    const devices = await must('dmsetup', 'info', '-c', '--noheadings', '-o', DEVICE_COLUMNS);
    const isOurs = (line: string): boolean => line.startsWith(`${this.vg.replaceAll('-', '--')}-`);
    return [...linesOf(volumes), ...linesOf(devices).filter(isOurs)].toSorted();
  }

  async dispose(): Promise<void> {
    const isOurs = (mountpoint: string): boolean => mountpoint.startsWith(`${this.directory}/`);
    for (const { mountpoint } of (await readMounts())
      .filter((mount) => isOurs(mount.mountpoint))
      .toReversed()) {
      await runCommand(['fsfreeze', '--unfreeze', mountpoint], { timeoutMs: 10_000 });
      await runCommand(['umount', mountpoint], { timeoutMs: 30_000 });
    }
    await must('vgremove', '--force', '--force', '--yes', '--', this.vg);
    await must('pvremove', '--force', '--yes', '--', ...this.#disks);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** What LVM, device-mapper, the loop devices and the mounts are now: to be the same after a run as before it. */
export async function storageState(): Promise<string[]> {
  const volumes = await must('lvs', '-a', '--noheadings', '-o', VOLUME_COLUMNS);
  const devices = await must('dmsetup', 'info', '-c', '--noheadings', '-o', DEVICE_COLUMNS);
  const loops = await must('losetup', '--list', '--noheadings', '-O', 'NAME,BACK-FILE');
  const mounts = (await readMounts()).map(({ mountpoint, source }) => `${source} at ${mountpoint}`);
  return [...[volumes, devices, loops].flatMap(linesOf), ...mounts].toSorted();
}
