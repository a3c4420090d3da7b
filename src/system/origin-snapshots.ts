import { neighboursOf, readDevice, type BlockDevice } from './block-stack.js';

/** How LVM marks the device that holds the data of an origin: the origin itself lies on it, and so do its snapshots. */
const ORIGIN_DATA = /^LVM-.*-real$/;

/**
 * The devices of the classic snapshots of the origin whose data `device` holds, each snapshot before its exception
 * store; none for any other device. Another snapshot of that origin suspends these too (lvcreate, seen on Linux 6.1 and
 * 7.3). From sysfs; the origin is among them, as what lies on `device`.
 */
export async function readOriginSnapshots(
  { majorMinor, dmUuid }: BlockDevice,
  sysfs = '/sys',
): Promise<BlockDevice[]> {
  if (dmUuid === undefined || !ORIGIN_DATA.test(dmUuid)) return [];
  const found: BlockDevice[] = [];
  for (const number of await neighboursOf(sysfs, majorMinor, 'holders')) {
    const above = await readDevice(sysfs, number);
    if (above?.dmUuid?.startsWith('LVM-') !== true) continue;
    found.push(above);
    for (const below of await neighboursOf(sysfs, number, 'slaves')) {
      const store = below === majorMinor ? undefined : await readDevice(sysfs, below);
      if (store !== undefined) found.push(store);
    }
  }
  return found;
}
