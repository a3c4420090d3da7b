import type { JobConfig, SourceConfig } from '../../src/config/types.js';
import type { HostFacts, NestedTree, SourceFacts } from '../../src/plan/facts.js';
import type { Detector, Detectors } from '../../src/plan/resolve-mode.js';
import type {
  Detection,
  DetectionContext,
  FilesystemFacts,
  FreezeMode,
  ProviderName,
} from '../../src/snapshots/provider.js';
import type { Mount } from '../../src/system/mountinfo.js';

export function aMount(overrides: Partial<Mount> = {}): Mount {
  return {
    mountId: 30,
    parentId: 1,
    majorMinor: '7:1',
    root: '/',
    mountpoint: '/srv',
    options: ['rw'],
    fstype: 'ext4',
    source: '/dev/loop1',
    superOptions: ['rw'],
    ...overrides,
  };
}

export function aFilesystem(overrides: Partial<Mount> = {}): FilesystemFacts {
  return { mount: aMount(overrides), stack: undefined, freeBytes: 2 ** 30, totalBytes: 2 ** 31 };
}

export function aSource(overrides: Partial<SourceConfig> = {}): SourceConfig {
  return { path: '/srv', snapshot: 'auto', freezeMode: 'auto', exclude: [], recursive: false, ...overrides };
}

export function aJob(overrides: Partial<JobConfig> = {}): JobConfig {
  return {
    name: 'srv',
    sources: [aSource()],
    targets: [{ path: '/backup', engine: 'rsync', mustBeMountpoint: false }],
    quiesce: [],
    freeze: { timeoutMs: 10_000, maxHoldMs: 60_000 },
    attempts: 3,
    ...overrides,
  };
}

/** The facts of a source that lies at the mountpoint of its filesystem, or at `path` below it. */
export function sourceFacts(
  filesystem: FilesystemFacts,
  path = filesystem.mount.mountpoint,
  nested: readonly NestedTree[] = [],
): SourceFacts {
  return { path, realPath: path, filesystem, nested };
}

export function hostFacts(overrides: Partial<HostFacts> = {}): HostFacts {
  return {
    sources: [sourceFacts(aFilesystem())],
    targets: [{ path: '/backup', realPath: '/backup', majorMinor: '8:2', mountpoint: '/backup' }],
    inUse: [{ what: 'the root filesystem', majorMinor: '8:1' }],
    layers: {},
    nestedFreeze: 'unknown',
    initialPidNamespace: true,
    doubts: [],
    ...overrides,
  };
}

export function suits(freezeModes: readonly FreezeMode[], writesTo: readonly string[] = []): Detection {
  return { suits: true, freezeModes, reason: `it offers ${freezeModes.join(' and ')}`, writesTo };
}

/** Detectors that answer by filesystem type, as the real ones roughly do: ext4 lies in an image on `7:0`. */
export function fakeDetectors(
  answers: Partial<Record<ProviderName, (f: FilesystemFacts, context: DetectionContext) => Detection>> = {},
) {
  const detector = (
    name: ProviderName,
    fallback: (f: FilesystemFacts, context: DetectionContext) => Detection,
  ): Detector => ({
    name,
    detect: answers[name] ?? fallback,
  });
  const unsuited = { suits: false, reason: 'not of this kind' } as const;
  const all: Record<ProviderName, Detector> = {
    btrfs: detector('btrfs', ({ mount }) =>
      mount.fstype === 'btrfs' ? suits(['atomic'], [mount.majorMinor]) : unsuited,
    ),
    reflink: detector('reflink', ({ mount }) =>
      mount.fstype === 'ext4' ? suits(['explicit'], ['7:0']) : unsuited,
    ),
    zfs: detector('zfs', () => unsuited),
    lvm: detector('lvm', () => unsuited),
    mirror: detector('mirror', () => unsuited),
    command: detector('command', () => suits(['explicit', 'native', 'atomic'])),
  };
  const detectors: Detectors = { auto: [all.btrfs, all.reflink], named: (name) => all[name] };
  return detectors;
}
