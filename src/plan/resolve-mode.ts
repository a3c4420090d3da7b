import type { SnapshotCommands, SourceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import type {
  Consistency,
  Detection,
  DetectionContext,
  FilesystemFacts,
  FreezeMode,
  ProviderName,
  SnapshotProvider,
} from '../snapshots/provider.js';
import type { HostFacts } from './facts.js';
import { reachedByWrites } from './layers.js';

/** What planning needs of a provider. */
export type Detector = Pick<SnapshotProvider, 'name' | 'detect'>;

/** The providers there are, as planning asks them. */
export interface Detectors {
  /** What `auto` tries, in this order. */
  auto: readonly Detector[];
  /** The one that the configuration names; `commands` are those of the `command` provider. */
  named(name: ProviderName, commands: SnapshotCommands | undefined): Detector;
}

/** How one filesystem is snapshotted. */
export interface ResolvedMode {
  provider: ProviderName | 'none';
  freezeMode: FreezeMode;
  freezeModeReason: string;
  /** `major:minor` of the filesystems that taking the snapshot writes to, those below included. */
  writes: ReadonlySet<string>;
  /** As of a detection. */
  together?: string;
  apart?: string;
  proveOrigin: boolean;
}

const LIVE: ResolvedMode = {
  provider: 'none',
  freezeMode: 'none',
  freezeModeReason: 'the configuration asks for a copy of the live tree',
  writes: new Set(),
  proveOrigin: false,
};

/** FIFREEZE answers EOPNOTSUPP on these (no freeze_fs and no block device to sync). */
const UNFREEZABLE =
  /^(?:vfat|exfat|msdos|ntfs|ntfs3|fuse(?:\..*|blk)?|nfs4?|cifs|smb3|overlay|tmpfs|ramfs|squashfs|zfs|9p|virtiofs)$/;

function nameOf({ mount }: FilesystemFacts): string {
  return `${mount.mountpoint} (${mount.fstype} on ${mount.source})`;
}

function detect(
  source: SourceConfig,
  filesystem: FilesystemFacts,
  detectors: Detectors,
  context: DetectionContext,
) {
  if (source.snapshot !== 'auto' && source.snapshot !== 'none') {
    const detector = detectors.named(source.snapshot, source.commands);
    return { name: detector.name, detection: detector.detect(filesystem, context) };
  }
  const reasons: string[] = [];
  const hints: string[] = [];
  for (const detector of detectors.auto) {
    const detection = detector.detect(filesystem, context);
    if (detection.suits) return { name: detector.name, detection };
    reasons.push(`${detector.name}: ${detection.reason}`);
    if (detection.hint !== undefined) hints.push(detection.hint);
  }
  const [hint] = hints;
  const detection: Detection = {
    suits: false,
    reason: reasons.join('; '),
    ...(hint === undefined ? {} : { hint }),
  };
  return { name: undefined, detection };
}

function chooseMode(
  source: SourceConfig,
  filesystem: FilesystemFacts,
  { freezeModes: offered, refused = {} }: Extract<Detection, { suits: true }>,
  writes: ReadonlySet<string>,
): FreezeMode {
  const { majorMinor } = filesystem.mount;
  // A snapshot that writes to the filesystem which is frozen for it waits for the thaw, for ever.
  const possible = offered.filter((mode) => mode !== 'explicit' || !writes.has(majorMinor));
  if (source.freezeMode === 'auto') {
    const [best] = possible;
    if (best !== undefined) return best;
    throw new FsbackupError('notFrozen', `${nameOf(filesystem)} cannot be snapshotted in any safe mode`, {
      hint: 'Set `snapshot: none` for it to copy the live tree.',
    });
  }
  if (possible.includes(source.freezeMode)) return source.freezeMode;
  if (source.freezeMode === 'explicit' && writes.has(majorMinor)) {
    throw new FsbackupError(
      'usage',
      `freezeMode explicit deadlocks on ${nameOf(filesystem)}: its snapshot writes to the filesystem that is frozen`,
      { hint: `Set \`freezeMode: ${possible[0] ?? 'auto'}\` for ${source.path}.` },
    );
  }
  const why = refused[source.freezeMode];
  throw new FsbackupError(
    'usage',
    `freezeMode ${source.freezeMode} is not possible for ${nameOf(filesystem)}${why === undefined ? '' : `: ${why}`}`,
    { hint: `Set \`freezeMode\` of ${source.path} to ${['auto', ...possible].join(' or ')}.` },
  );
}

/**
 * Decides how a filesystem is snapshotted for a source. Pure.
 * Throws `notFrozen` where nothing can snapshot it, `usage` for a mode that would deadlock or does not exist there.
 */
export function resolveMode(
  source: SourceConfig,
  filesystem: FilesystemFacts,
  detectors: Detectors,
  layers: HostFacts['layers'],
  context: DetectionContext,
): ResolvedMode {
  if (source.snapshot === 'none') return LIVE;
  const { name, detection } = detect(source, filesystem, detectors, context);
  if (!detection.suits || name === undefined) {
    const { reason, hint } = detection.suits ? { reason: '', hint: undefined } : detection;
    throw new FsbackupError('notFrozen', `nothing can snapshot ${nameOf(filesystem)}: ${reason}`, {
      hint:
        hint ??
        (source.snapshot === 'auto'
          ? 'Put it on btrfs, or in an image file on XFS or btrfs, or configure `snapshot: command` for its storage; '
          : `Leave out \`snapshot: ${source.snapshot}\`, and \`fsbackup plan\` tells what else can; `) +
          '`snapshot: none` copies the live tree.',
    });
  }
  const { majorMinor, fstype } = filesystem.mount;
  const writes = reachedByWrites(detection.writesTo, layers);
  const freezeMode = chooseMode(source, filesystem, detection, writes);
  if (freezeMode === 'explicit' && UNFREEZABLE.test(fstype)) {
    throw new FsbackupError(
      'notFrozen',
      `${nameOf(filesystem)} cannot be frozen: ${fstype} does not support it`,
      {
        hint: 'Set `freezeMode: atomic` if its storage needs no freeze, or `snapshot: none` to copy the live tree.',
      },
    );
  }
  // While it is snapshotted without a freeze of ours, no freeze of ours may stand in the way of that.
  if (freezeMode !== 'explicit') for (const one of reachedByWrites([majorMinor], layers)) writes.add(one);
  const { together, apart, proveOrigin = false } = detection;
  return {
    provider: name,
    freezeMode,
    freezeModeReason: whyThatMode(source.freezeMode, freezeMode, detection),
    writes,
    ...(together === undefined ? {} : { together }),
    ...(apart === undefined ? {} : { apart }),
    proveOrigin,
  };
}

/** The reason of a detection is why its first mode is the best. */
function whyThatMode(
  asked: SourceConfig['freezeMode'],
  freezeMode: FreezeMode,
  { freezeModes: [best], reason }: Extract<Detection, { suits: true }>,
): string {
  if (asked === 'auto') return reason;
  if (freezeMode === best || best === undefined) return `${reason}, as configured`;
  return `the configuration asks for it; \`auto\` would be ${best}: ${reason}`;
}

/** What a snapshot of a filesystem of that type, taken so, is worth, when the freeze held. */
export function consistencyOf(
  { provider, freezeMode }: Pick<ResolvedMode, 'provider' | 'freezeMode'>,
  fstype: string,
  quiesced: boolean,
): Consistency {
  if (freezeMode === 'none') return 'none';
  if (quiesced) return 'application';
  // ZFS commits all that was written before a snapshot of its own. btrfs commits its metadata, and data only as far as it
  // was on the disk by then: a file that was written and renamed into place, without fsync, is there and empty (measured).
  // One of the device below, without a freeze, finds the filesystem as a power cut would.
  return freezeMode === 'atomic' && (fstype === 'btrfs' || provider !== fstype) ? 'crash' : 'filesystem';
}

const STRENGTH: readonly Consistency[] = ['none', 'crash', 'filesystem', 'application'];

/** The weakest of several; `none` for an empty list. */
export function weakest(all: readonly Consistency[]): Consistency {
  return STRENGTH.find((one) => all.includes(one)) ?? 'none';
}
