import { readBlockStack, readJoinedStack, type BlockStack } from './block-stack.js';
import { readBtrfsDevices } from './btrfs-devices.js';
import { deviceNumber } from './device-number.js';
import type { Mount } from './mountinfo.js';

/** The devices under the one at a path; undefined where there is none. */
export async function stackOfDevice(device: string): Promise<BlockStack | undefined> {
  const number = await deviceNumber(device).catch(() => undefined);
  return number === undefined ? undefined : await readBlockStack(number);
}

/**
 * The devices under a mount; undefined where it lies on none. A btrfs has an anonymous device number, but names one of
 * its devices: that one comes first, and all others are looked up.
 */
export async function stackOf(
  { fstype, source, majorMinor }: Pick<Mount, 'fstype' | 'source' | 'majorMinor'>,
  sysfs = '/sys',
): Promise<BlockStack | undefined> {
  if (fstype !== 'btrfs') return await readBlockStack(majorMinor, sysfs);
  const named = await deviceNumber(source).catch(() => undefined);
  if (named === undefined) return undefined;
  const { devices = [] } = (await readBtrfsDevices(named, sysfs)) ?? {};
  return await readJoinedStack([named, ...devices], sysfs);
}
