import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
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
  /** A partition that the kernel itself made: of device-mapper's kind there are others. */
  isPartition?: true;
}

/** The devices under a filesystem, the topmost first, each before all that it lies on. */
export type BlockStack = readonly [BlockDevice, ...BlockDevice[]];

/** An attribute in sysfs; undefined where there is none of that name. */
export async function readSysfs(file: string): Promise<string | undefined> {
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
  const isPartition = (await readSysfs(path.join(directory, 'partition'))) !== undefined;
  return {
    name: path.basename(target),
    majorMinor,
    backingFile: await readSysfs(path.join(directory, 'loop/backing_file')),
    dmUuid: await readSysfs(path.join(directory, 'dm/uuid')),
    ...(isPartition ? { isPartition } : {}),
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

/** The numbers of the devices just below one. A partition has no `slaves`: its directory lies in that of its disk. */
async function devicesBelow(sysfs: string, { majorMinor, isPartition }: BlockDevice): Promise<string[]> {
  if (isPartition !== true) return await neighboursOf(sysfs, majorMinor, 'slaves');
  // One that is gone meanwhile lies on nothing any more.
  const directory = await realpath(path.join(sysfs, 'dev/block', majorMinor)).catch(() => undefined);
  const disk =
    directory === undefined ? undefined : await readSysfs(path.join(path.dirname(directory), 'dev'));
  return disk === undefined ? [] : [disk];
}

/**
 * The devices `tops` and those under them, from sysfs, all the way down, each once and before all that it lies on; the
 * first of `tops` comes first unless it lies on another. Undefined where there is none of these.
 */
export async function readJoinedStack(
  tops: readonly string[],
  sysfs = '/sys',
): Promise<BlockStack | undefined> {
  const seen = new Set<string>();
  const stack: BlockDevice[] = [];
  // What lies below a device is found before the device itself is put on top of it.
  const descend = async (numbers: readonly string[]): Promise<void> => {
    for (const number of numbers.toReversed()) {
      if (seen.has(number)) continue;
      seen.add(number);
      const device = await readDevice(sysfs, number);
      if (device === undefined) continue;
      await descend(await devicesBelow(sysfs, device));
      stack.unshift(device);
    }
  };
  await descend([...new Set(tops)]);
  const [top, ...below] = stack;
  return top === undefined ? undefined : [top, ...below];
}

/**
 * The devices under the filesystem `majorMinor`: what a device-mapper or md device lies on, and the disk of a
 * partition. Undefined where the filesystem has no block device of that number (btrfs, nfs, tmpfs).
 */
export async function readBlockStack(majorMinor: string, sysfs = '/sys'): Promise<BlockStack | undefined> {
  return await readJoinedStack([majorMinor], sysfs);
}
