import type { NestedFreeze } from '../system/nested-freeze.js';
import { layersAbove } from './lvm-layers.js';
import type { Detection, DetectionContext, FilesystemFacts, FreezeMode } from './provider.js';

/** Those whose snapshots are known to mount beside the original, frozen or not. */
const FILESYSTEMS: ReadonlySet<string> = new Set(['ext2', 'ext3', 'ext4', 'xfs']);

/** Why LVM cannot snapshot a filesystem, as a clause; undefined when it can. Pure. */
export function refuseLvm({ mount, lvm, lvmProblem, stack }: FilesystemFacts): string | undefined {
  if (lvm === undefined) {
    return lvmProblem ?? `${mount.source} lies on no logical volume of LVM`;
  }
  const name = `${lvm.vg}/${lvm.lv}`;
  if (mount.fstype === 'btrfs') return 'a copy of a btrfs has its UUID and cannot be mounted beside it';
  if (!FILESYSTEMS.has(mount.fstype)) return `${mount.fstype} on LVM is not supported`;
  if (mount.superOptions.some((option) => /^(?:logdev|rtdev|journal_dev|journal_path)=/.test(option))) {
    return `a part of it (log, journal or realtime device) lies outside of ${name}`;
  }
  const isThin = lvm.layout.includes('thin');
  if (!isThin && lvm.role.includes('snapshot')) {
    return `${name} is itself a classic snapshot, of which LVM makes none; mount its origin ${lvm.vg}/${lvm.origin ?? ''}`;
  }
  if (stack !== undefined && layersAbove(stack, lvm.above) === undefined) {
    return `between it and ${name} lies something that is neither LUKS nor a partition`;
  }
  return undefined;
}

const WHY_NOT_EXPLICIT: Readonly<Record<Exclude<NestedFreeze, 'nests'>, string>> = {
  refuses: 'this kernel refuses a snapshot of LVM while its origin is frozen (EBUSY)',
  leaks: 'on this kernel a snapshot of LVM while its origin is frozen makes the origin unmountable',
  unknown: 'it is not known whether this kernel survives a snapshot of LVM while its origin is frozen',
};

/**
 * How LVM snapshots a filesystem. Pure. By itself lvcreate freezes for an instant of its own, and stalls writers least;
 * several volumes are at one instant only when we hold them all frozen around it, which not every kernel survives.
 */
export function detectLvm(filesystem: FilesystemFacts, context: DetectionContext): Detection {
  const refusal = refuseLvm(filesystem);
  const { lvm, lvmProblem, below = [] } = filesystem;
  if (refusal !== undefined || lvm === undefined) {
    const hint = 'See what LVM says: lvs -a. Where there is no lvs, install it: lvm2, in all distributions.';
    return { suits: false, reason: refusal ?? '', ...(lvmProblem === undefined ? {} : { hint }) };
  }
  const kind = lvm.layout.includes('thin') ? 'thin' : 'classic';
  const what = `a ${kind} snapshot of ${lvm.vg}/${lvm.lv}`;
  const offer = (
    freezeModes: readonly FreezeMode[],
    why: string,
    more: Partial<Extract<Detection, { suits: true }>> = {},
  ): Detection => ({ suits: true, freezeModes, reason: `${what}: ${why}`, writesTo: below, ...more });

  if (lvm.above.length > 0) {
    // Device-mapper freezes what lies straight on the volume, and there is no filesystem: so nothing is nested either.
    return offer(['explicit'], 'lvcreate does not freeze through LUKS or a partition, so we do');
  }
  const { nestedFreeze, grouped } = context;
  if (nestedFreeze === 'nests') {
    return grouped
      ? offer(
          ['explicit', 'native'],
          'we freeze it, to take others of the job with it, which this kernel allows',
        )
      : offer(['native', 'explicit'], 'lvcreate freezes by itself, which stalls writers least');
  }
  const inDoubt = nestedFreeze === 'leaks' || nestedFreeze === 'unknown';
  const why = WHY_NOT_EXPLICIT[nestedFreeze];
  const more = { refused: { explicit: why }, ...(inDoubt ? { proveOrigin: true } : {}) };
  if (!grouped) return offer(['native'], 'lvcreate freezes by itself, which stalls writers least', more);
  return offer(['native'], `lvcreate freezes each by itself, since ${why}`, { ...more, apart: why });
}
