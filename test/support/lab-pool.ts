import { existsSync, mkdtempSync, realpathSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readMounts } from '../../src/system/mountinfo.js';
import { runCommand } from '../../src/system/run-command.js';
import { must } from './throwaway-filesystem.js';

const MKFS: Readonly<Record<'ext4' | 'xfs', [string, ...string[]]>> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f'],
};
/** Sparse; the smallest that mkfs.xfs takes is 300 MiB. */
const SIZE = { ext4: '128M', xfs: '320M' } as const;

/** A ZFS pool of the lab, with what is mounted from it below a directory of its own. */
export class LabPool {
  readonly pool: string;
  readonly directory: string;
  readonly #vdevs: readonly string[];

  private constructor(pool: string, vdevs: readonly string[]) {
    this.pool = pool;
    this.#vdevs = vdevs;
    this.directory = mkdtempSync(path.join(realpathSync(os.tmpdir()), 'lab-pool-'));
  }

  /** Makes a pool on these devices or files, whatever they held. */
  static async make(pool: string, vdevs: readonly string[]): Promise<LabPool> {
    // Compressed, a file has so few blocks that it passes for a sparse one.
    await must('zpool', 'create', '-f', '-m', 'none', '-O', 'compression=off', pool, ...vdevs);
    return new LabPool(pool, vdevs);
  }

  /** Makes a dataset `POOL/name`, mounted at `DIRECTORY/name`; returns the mountpoint. */
  async dataset(name: string, ...properties: string[]): Promise<string> {
    const mountpoint = path.join(this.directory, name);
    const options = [`mountpoint=${mountpoint}`, ...properties].flatMap((property) => ['-o', property]);
    await must('zfs', 'create', ...options, `${this.pool}/${name}`);
    return mountpoint;
  }

  /** Makes a zvol `POOL/name`; returns its device. */
  async zvol(name: string, size: string): Promise<string> {
    await must('zfs', 'create', '-s', '-V', size, `${this.pool}/${name}`);
    return await deviceNamed(`${this.pool}/${name}`);
  }

  /** Makes a zvol with a filesystem, mounted at `DIRECTORY/name`, on a partition of it when asked; the mountpoint. */
  async mountedZvol(name: string, fstype: 'ext4' | 'xfs', partitioned = false): Promise<string> {
    let device = await this.zvol(name, SIZE[fstype]);
    if (partitioned) {
      const input = 'label: gpt\nstart=2048\n';
      const written = await runCommand(['sfdisk', '--quiet', device], { input, timeoutMs: 60_000 });
      if (written.exitCode !== 0) throw new Error(written.stderr);
      device = await deviceNamed(`${this.pool}/${name}-part1`);
    }
    const mountpoint = path.join(this.directory, name);
    await mkdir(mountpoint);
    await must(...MKFS[fstype], device);
    await must('mount', device, mountpoint);
    return mountpoint;
  }

  /** Its datasets, snapshots and clones with their own properties, and holds. */
  async state(): Promise<string[]> {
    const things = await must('zfs', 'list', '-H', '-t', 'all', '-o', 'name,origin', '-r', this.pool);
    const columns = 'name,property,value';
    const properties = await must('zfs', 'get', '-H', '-s', 'local', '-o', columns, '-r', 'all', this.pool);
    const snapshots = (
      await must('zfs', 'list', '-H', '-t', 'snapshot', '-o', 'name', '-r', this.pool)
    ).split('\n');
    const holds = await Promise.all(
      snapshots.filter((name) => name !== '').map((name) => must('zfs', 'holds', '-H', name)),
    );
    return [things, properties, ...holds].flatMap((text) => text.split('\n')).toSorted();
  }

  /** All that a run may leave: that, mounts, loop devices, and pools. */
  async held(): Promise<string[]> {
    // The number of a zvol's device is another one after each import.
    const device = (source: string): string => source.replace(/^\/dev\/zd\d+/, '/dev/zd');
    const mounts = (await readMounts()).map(({ mountpoint, source }) => `${device(source)} at ${mountpoint}`);
    const loops = await must('losetup', '--list', '--noheadings', '-O', 'NAME,BACK-FILE');
    const pools = await must('zpool', 'list', '-H', '-o', 'name');
    const others = [loops, pools].flatMap((text) => text.split('\n'));
    return [...(await this.state()), ...mounts, ...others].toSorted();
  }

  /** Unmounts and removes everything. */
  async dispose(): Promise<void> {
    for (const { mountpoint } of (await readMounts()).toReversed()) {
      if (mountpoint.startsWith(`${this.directory}/`)) await must('umount', mountpoint);
    }
    for (
      let round = 0;
      (await runCommand(['zpool', 'destroy', '-f', this.pool])).exitCode !== 0;
      round += 1
    ) {
      if (round > 20) throw new Error(`the pool ${this.pool} cannot be destroyed`);
      await sleep(200);
    }
    for (const vdev of this.#vdevs) await runCommand(['zpool', 'labelclear', '-f', vdev]);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The device of a zvol, once udev has made its link. */
async function deviceNamed(zvol: string): Promise<string> {
  const link = path.join('/dev/zvol', zvol.replaceAll(' ', '+'));
  for (let round = 0; !existsSync(link); round += 1) {
    if (round > 200) throw new Error(`${link} does not appear`);
    await sleep(50);
  }
  return realpathSync(link);
}
