import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../errors.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import type { BlockDevice } from '../system/block-stack.js';
import { stackOf } from '../system/filesystem-stack.js';
import { readOriginSnapshots } from '../system/origin-snapshots.js';
import type { GuardedDevice } from './freezer.js';
import { shellWord } from '../system/command-line.js';

async function readAttribute(
  sysfs: string,
  majorMinor: string,
  attribute: string,
): Promise<string | undefined> {
  try {
    return (await readFile(path.join(sysfs, 'dev/block', majorMinor, 'dm', attribute), 'utf8')).trimEnd();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** To be run by hand. A table that a dead command left half-made must go: it may lead nowhere. */
export function resumeCommand(name: string): string {
  return `dmsetup clear ${shellWord(name)}; dmsetup resume ${shellWord(name)}`;
}

/** Where a guarded device is, as a clause. */
export function placeOf({ mountpoints, snapshotOf }: GuardedDevice): string {
  return snapshotOf === undefined ? `below ${mountpoints.join(', ')}` : `a snapshot of ${snapshotOf}`;
}

/** A device that is suspended before anything was done to it: whoever reads or writes there waits. */
export function suspendedError(device: GuardedDevice): FsbackupError {
  const { name } = device;
  return new FsbackupError('notFrozen', `${name}, ${placeOf(device)}, is suspended already`, {
    hint: `If no LVM command is at it any more, one died there: run "${resumeCommand(name)}", and look at "lvs -a".`,
  });
}

/** A device of a stack, or of a snapshot that an origin in it has already. */
interface Found {
  device: BlockDevice;
  mountpoints: readonly string[];
  /** What holds the data of that origin. */
  originData?: BlockDevice;
}

/** A filesystem, and what it lies on. */
export type StackedFilesystem = Pick<FilesystemFacts, 'mount' | 'stack'>;

/** The devices of the stacks as they are now, by number, the upper before the lower. */
async function stackedDevices(
  filesystems: readonly StackedFilesystem[],
  sysfs: string,
): Promise<Map<string, Found>> {
  // A device below two filesystems belongs below both: after the last that lies on it.
  const found = new Map<string, Found>();
  for (const { mount, stack } of filesystems) {
    // A snapshot that others made or removed since the plan has put a layer in between, or taken it away.
    const current = stack === undefined ? undefined : await stackOf(mount, sysfs);
    for (const device of current ?? []) {
      const above = found.get(device.majorMinor)?.mountpoints ?? [];
      found.delete(device.majorMinor);
      found.set(device.majorMinor, {
        device,
        mountpoints: [...new Set([...above, mount.mountpoint])],
      });
    }
  }
  return found;
}

/**
 * The device-mapper devices below these filesystems and those of the snapshots that LVM suspends with them, each once,
 * the upper before the lower; and whether each is suspended. Empty where there are none.
 */
export async function listDevices(
  filesystems: readonly StackedFilesystem[],
  sysfs = '/sys',
): Promise<(GuardedDevice & { isSuspended: boolean })[]> {
  const stacked = await stackedDevices(filesystems, sysfs);
  const found: Found[] = [];
  for (const below of stacked.values()) {
    // They lie on it too, so they come before it.
    for (const device of await readOriginSnapshots(below.device, sysfs)) {
      if (!stacked.has(device.majorMinor)) found.push({ ...below, device, originData: below.device });
    }
    found.push(below);
  }
  const nameOf = async ({ majorMinor }: BlockDevice): Promise<string> =>
    (await readAttribute(sysfs, majorMinor, 'name')) ?? majorMinor;
  const devices: (GuardedDevice & { isSuspended: boolean })[] = [];
  for (const { device: block, mountpoints, originData } of found) {
    const { majorMinor } = block;
    const origin = originData === undefined ? undefined : await nameOf(originData);
    const suspended = await readAttribute(sysfs, majorMinor, 'suspended');
    // None of device-mapper's, or gone: it cannot be suspended, or not any more.
    if (suspended === undefined) continue;
    devices.push({
      majorMinor,
      name: await nameOf(block),
      mountpoints,
      ...(origin === undefined ? {} : { snapshotOf: origin.replace(/-real$/, '') }),
      isSuspended: suspended === '1',
    });
  }
  return devices;
}

/**
 * As `listDevices`, of those that a dead-man is to guard. Rejects with `notFrozen` when one is suspended already: it may
 * resume only what was running before.
 */
export async function findGuardedDevices(
  filesystems: readonly StackedFilesystem[],
  sysfs = '/sys',
): Promise<GuardedDevice[]> {
  const devices = await listDevices(filesystems, sysfs);
  return devices.map(({ isSuspended, ...device }) => {
    if (isSuspended) throw suspendedError(device);
    return device;
  });
}
