import type { RawJob } from './schema.js';
import { parsePercent, parseSnapshotSize } from './size.js';
import type { LvmSettings } from '../snapshots/provider.js';

type RawLvm = NonNullable<Exclude<RawJob['sources'][number], string>['lvm']>;

/** What holds where nothing is configured. From 90 % on a thin pool needs a person, not one more snapshot. */
export const DEFAULT_LVM: LvmSettings = { size: 'auto', extend: false, poolThresholdPercent: 90 };

/** The settings as written, with every default filled in. */
export function normaliseLvm({ size, extend, poolThreshold, keyFile }: RawLvm): LvmSettings {
  return {
    size: (size === undefined ? undefined : parseSnapshotSize(size)) ?? DEFAULT_LVM.size,
    extend: extend ?? DEFAULT_LVM.extend,
    poolThresholdPercent:
      (poolThreshold === undefined ? undefined : parsePercent(poolThreshold)) ??
      DEFAULT_LVM.poolThresholdPercent,
    ...(keyFile === undefined ? {} : { keyFile }),
  };
}
