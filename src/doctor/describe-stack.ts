import type { FilesystemFacts } from '../snapshots/provider.js';
import type { BlockDevice } from '../system/block-stack.js';
import type { StackEntry } from './report.js';

/** Device-mapper's uuids begin with the name of who made the device. */
const DM_MAKERS: readonly [RegExp, string][] = [
  [/^LVM-/, 'lvm'],
  [/^CRYPT-/, 'crypt'],
  [/^mpath-/, 'multipath'],
  [/^part\d/, 'partition'],
];

function typeOf({ name, backingFile, dmUuid, isPartition }: BlockDevice): string {
  if (backingFile !== undefined) return 'loop';
  if (isPartition === true) return 'partition';
  if (dmUuid !== undefined) return DM_MAKERS.find(([uuid]) => uuid.test(dmUuid))?.[1] ?? 'device-mapper';
  if (/^md\d/.test(name)) return 'raid';
  return /^zd\d/.test(name) ? 'zvol' : 'disk';
}

/** The devices under a filesystem, as a report has them. Pure. */
export function describeStack(stack: FilesystemFacts['stack']): StackEntry[] {
  return (stack ?? []).map((device) => ({
    device: `/dev/${device.name.replaceAll('!', '/')}`,
    majorMinor: device.majorMinor,
    type: typeOf(device),
    image: device.backingFile ?? null,
  }));
}
