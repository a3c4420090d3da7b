import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';

/** A block device and what it lies on. */
export interface BlockDevice {
  /** Kernel name: `loop0`, `dm-3`, `vda1`. */
  name: string;
  majorMinor: string;
  /** For a loop device: its backing file, as the kernel names it, and undefined for every other device. */
  backingFile: string | undefined;
  /** For a device-mapper device: the uuid, e.g. `LVM-…`, whose prefix names its maker. */
  dmUuid: string | undefined;
}

/** The devices under a filesystem, the topmost first, each before all that it lies on. */
export type BlockStack = readonly [BlockDevice, ...BlockDevice[]];

async function readSysfs(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trimEnd();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** One device; undefined when there is none of that number. */
export async function readDevice(sysfs: string, majorMinor: string): Promise<BlockDevice | undefined> {
  const directory = path.join(sysfs, 'dev/block', majorMinor);
  let target: string;
  try {
    target = await readlink(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  return {
    name: path.basename(target),
    majorMinor,
    backingFile: await readSysfs(path.join(directory, 'loop/backing_file')),
    dmUuid: await readSysfs(path.join(directory, 'dm/uuid')),
  };
}

/** The numbers of the devices just below one (`slaves`), or of those just above it (`holders`). */
export async function neighboursOf(
  sysfs: string,
  majorMinor: string,
  which: 'slaves' | 'holders',
): Promise<string[]> {
  const directory = path.join(sysfs, 'dev/block', majorMinor, which);
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const found = await Promise.all(names.map((name) => readSysfs(path.join(directory, name, 'dev'))));
  return found.filter((value) => value !== undefined);
}

/**
 * The devices under the filesystem `majorMinor`, from sysfs: a device-mapper or md device's `slaves`, all the way
 * down, each once. Undefined where the filesystem has no block device of that number (btrfs, nfs, tmpfs).
 */
export async function readBlockStack(majorMinor: string, sysfs = '/sys'): Promise<BlockStack | undefined> {
  const top = await readDevice(sysfs, majorMinor);
  if (top === undefined) return undefined;
  const seen = new Set([majorMinor]);
  // What lies below a device is found before the device itself is put on top of it.
  const below: BlockDevice[] = [];
  const descend = async (above: BlockDevice): Promise<void> => {
    const slaves = await neighboursOf(sysfs, above.majorMinor, 'slaves');
    for (const slave of slaves.toReversed()) {
      if (seen.has(slave)) continue;
      seen.add(slave);
      const device = await readDevice(sysfs, slave);
      if (device === undefined) continue;
      await descend(device);
      below.unshift(device);
    }
  };
  await descend(top);
  return [top, ...below];
}
