import type { FilesystemFacts } from '../../src/snapshots/provider.js';
import type { LogicalVolumeBelow } from '../../src/system/lvm.js';
import { aFilesystem } from './plan-facts.js';

export const GIB = 2 ** 30;

export function aVolume(overrides: Partial<LogicalVolumeBelow> = {}): LogicalVolumeBelow {
  return {
    vg: 'data',
    lv: 'srv',
    uuid: 'uaNLrG-EfPz-6y0P-qKZ4-hXKX-xqMl-cKzFyn',
    majorMinor: '253:0',
    layout: ['linear'],
    role: ['public'],
    sizeBytes: 100 * GIB,
    origin: undefined,
    pool: undefined,
    dataPercent: undefined,
    isInvalid: false,
    syncPercent: undefined,
    tags: [],
    vgFreeBytes: 50 * GIB,
    vgExtentBytes: 4 * 1024 * 1024,
    above: [],
    ...overrides,
  };
}

export function aThinVolume(overrides: Partial<LogicalVolumeBelow> = {}): LogicalVolumeBelow {
  return aVolume({
    layout: ['thin', 'sparse'],
    pool: { lv: 'pool', dataPercent: 10, metadataPercent: 2, whenFull: 'queue' },
    ...overrides,
  });
}

export function onVolume(lvm: LogicalVolumeBelow, fstype = 'ext4'): FilesystemFacts {
  return { ...aFilesystem({ fstype, majorMinor: '253:0', source: '/dev/mapper/data-srv' }), lvm };
}
