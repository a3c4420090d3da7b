import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { readLogicalVolumes, type LogicalVolume } from '../../src/system/lvm.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { runCommand } from '../../src/system/run-command.js';
import { must } from './throwaway-filesystem.js';
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

const MKFS: Readonly<Record<LabVolumeOptions['fstype'], [string, ...string[]]>> = {
  // Nothing is left for the kernel to write in the background: that would fill snapshots.
  ext4: ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0'],
  xfs: ['mkfs.xfs', '-q', '-f'],
};

/** A volume group on whole disks of the lab's guest; all of it is undone by `dispose`, frozen or not. */
export class LabVolumeGroup {
  readonly vg: string;
  readonly directory: string;
  readonly #disks: readonly string[];
  readonly #volumes: LabVolume[] = [];

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

  async pool(lv: string, sizeMiB: number): Promise<void> {
    await must(
      'lvcreate',
      '--quiet',
      '--yes',
      '--type',
      'thin-pool',
      '-L',
      `${sizeMiB}m`,
      '-n',
      lv,
      '--',
      this.vg,
    );
  }

  async volume({ lv, fstype, sizeMiB = 320, pool }: LabVolumeOptions): Promise<LabVolume> {
    const how = pool === undefined ? ['-L', `${sizeMiB}m`] : ['-V', `${sizeMiB}m`, '--thinpool', pool];
    await must('lvcreate', '--quiet', '--yes', '-Wy', ...how, '-n', lv, '--', this.vg);
    const device = `/dev/${this.vg}/${lv}`;
    await must(...MKFS[fstype], device);
    const mountpoint = path.join(this.directory, lv);
    await mkdir(mountpoint);
    await must('mount', device, mountpoint);
    const volume = { lv, mountpoint, device };
    this.#volumes.push(volume);
    return volume;
  }

  async volumes(): Promise<readonly LogicalVolume[]> {
    const read = await readLogicalVolumes([this.vg]);
    if ('problem' in read) throw new Error(read.problem);
    return read.volumes;
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
  const volumes = await must('lvs', '--all', '--noheadings', '-o', 'vg_name,lv_name,lv_attr,lv_tags');
  const devices = await must('dmsetup', 'info', '--columns', '--noheadings', '-o', 'name,suspended,open');
  const loops = await must('losetup', '--list', '--noheadings', '-O', 'NAME');
  const mounts = (await readMounts()).map(({ mountpoint, source }) => `${source} ${mountpoint}`);
  const lines = [volumes, devices, loops].flatMap((text) => text.split('\n').map((line) => line.trim()));
  return [...lines, ...mounts].toSorted();
}
