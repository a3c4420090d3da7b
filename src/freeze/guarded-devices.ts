import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../errors.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import type { GuardedDevice } from './freezer.js';

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
  return `"dmsetup clear ${name}; dmsetup resume ${name}"`;
}

/** A device that is suspended before anything was done to it: whoever reads or writes there waits. */
export function suspendedError({ name, mountpoints }: GuardedDevice): FsbackupError {
  return new FsbackupError('notFrozen', `${name}, below ${mountpoints.join(', ')}, is suspended already`, {
    hint: `If no LVM command is at it any more, one died there: run ${resumeCommand(name)}, and look at "lvs -a".`,
  });
}

/**
 * The device-mapper devices below these filesystems, each once, the upper before the lower. Empty where there are none.
 * Rejects with `notFrozen` when one is suspended already: the dead-man may resume only what was running before.
 */
export async function findGuardedDevices(
  filesystems: readonly FilesystemFacts[],
  sysfs = '/sys',
): Promise<GuardedDevice[]> {
  // A device below two filesystems belongs below both: after the last that lies on it.
  const mountpoints = new Map<string, string[]>();
  for (const { mount, stack = [] } of filesystems) {
    for (const { majorMinor, dmUuid } of stack) {
      if (dmUuid === undefined) continue;
      const above = mountpoints.get(majorMinor) ?? [];
      mountpoints.delete(majorMinor);
      mountpoints.set(majorMinor, [...new Set([...above, mount.mountpoint])]);
    }
  }
  const devices: GuardedDevice[] = [];
  for (const [majorMinor, above] of mountpoints) {
    const name = (await readAttribute(sysfs, majorMinor, 'name')) ?? majorMinor;
    const device = { majorMinor, name, mountpoints: above };
    if ((await readAttribute(sysfs, majorMinor, 'suspended')) === '1') throw suspendedError(device);
    devices.push(device);
  }
  return devices;
}
