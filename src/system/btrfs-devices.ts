import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { readSysfs } from './block-stack.js';

/** A btrfs that is mounted, as sysfs tells of it. */
export interface BtrfsDevices {
  /** Of the filesystem, as 36 characters. */
  uuid: string;
  /** `major:minor` of each device, those that are missing left out. */
  devices: string[];
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    // No btrfs in this kernel, what stands beside the filesystems (`features`), or one that is unmounted just now.
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** The mounted btrfs that the device `majorMinor` belongs to; undefined where it belongs to none. */
export async function readBtrfsDevices(
  majorMinor: string,
  sysfs = '/sys',
): Promise<BtrfsDevices | undefined> {
  const all = path.join(sysfs, 'fs/btrfs');
  for (const uuid of await namesIn(all)) {
    const directory = path.join(all, uuid, 'devices');
    const names = await namesIn(directory);
    const found = await Promise.all(names.map((name) => readSysfs(path.join(directory, name, 'dev'))));
    const devices = found.filter((device) => device !== undefined);
    if (devices.includes(majorMinor)) return { uuid, devices };
  }
  return undefined;
}
