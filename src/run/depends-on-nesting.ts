import type { JobConfig } from '../config/types.js';
import type { FilesystemFacts } from '../snapshots/provider.js';

/** Device-mapper's uuids begin with the name of who made the device. */
function liesOnLvm({ lvm, stack }: FilesystemFacts): boolean {
  return lvm !== undefined || (stack ?? []).some(({ dmUuid }) => dmUuid?.startsWith('LVM-') === true);
}

/**
 * Whether the plan depends on what the kernel does with a nested freeze: a logical volume is frozen by us while LVM
 * freezes it too, be it asked for or for the sake of one instant with other filesystems. Pure.
 */
export function dependsOnNesting(job: JobConfig, filesystems: readonly FilesystemFacts[]): boolean {
  const isGrouped = new Set(filesystems.map(({ mount }) => mount.majorMinor)).size > 1;
  const isAsked = isGrouped || job.sources.some(({ freezeMode }) => freezeMode === 'explicit');
  return isAsked && filesystems.some(liesOnLvm);
}
