import { describe, expect, it } from 'vitest';
import type { SourceConfig } from '../../../src/config/types.js';
import type { NestedTree } from '../../../src/plan/facts.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan } from '../../../src/plan/plan.js';
import { MirrorProvider } from '../../../src/snapshots/mirror-provider.js';
import { LvmProvider } from '../../../src/snapshots/lvm-provider.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import { ZfsProvider } from '../../../src/snapshots/zfs-provider.js';
import type { Mount } from '../../../src/system/mountinfo.js';
import type { NestedFreeze } from '../../../src/system/nested-freeze.js';
import { aVolume, onVolume } from '../../support/lvm-facts.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';

const LVM = { size: 'auto', extend: false, poolThresholdPercent: 90 } as const;

/** Storage as it is: LVM and ZFS answer for themselves. */
const detectors = {
  auto: [new ZfsProvider(), new LvmProvider(), ...fakeDetectors().auto],
  named: (name: Parameters<ReturnType<typeof fakeDetectors>['named']>[0]) => {
    if (name === 'mirror') return new MirrorProvider('7.3.4');
    return name === 'lvm' ? new LvmProvider() : fakeDetectors().named(name, undefined);
  },
};

interface Source extends Partial<SourceConfig> {
  filesystem: FilesystemFacts;
}

/** A job with these sources, each at the mountpoint of its filesystem or at its `path`, and `nested` below each. */
function planOf(
  sources: readonly Source[],
  nestedFreeze: NestedFreeze = 'refuses',
  nested: readonly NestedTree[] = [],
): Plan {
  const configured = sources.map(({ filesystem, ...source }) =>
    aSource({ path: filesystem.mount.mountpoint, ...source }),
  );
  return makePlan(
    aJob({ sources: configured }),
    hostFacts({
      nestedFreeze,
      sources: sources.map(({ filesystem, path }) => sourceFacts(filesystem, path, nested)),
    }),
    detectors,
    { force: false },
  );
}

/** The same filesystem as another mount shows it. */
function seenAt(filesystem: FilesystemFacts, mount: Partial<Mount>): FilesystemFacts {
  return { ...filesystem, mount: { ...filesystem.mount, ...mount } };
}

const VOLUME = onVolume(aVolume());
const HALF = seenAt(onVolume(aVolume({ layout: ['raid', 'raid1'] })), {});
const DATASET: FilesystemFacts = {
  ...aFilesystem({ fstype: 'zfs', source: 'tank/srv', majorMinor: '0:50' }),
  zfs: { dataset: 'tank/srv', kind: 'filesystem' },
};
const SUBVOLUME: FilesystemFacts = {
  ...aFilesystem({ fstype: 'btrfs', majorMinor: '0:40', root: '/top' }),
  subvolumeDevice: '41',
};

describe('several mounts of one filesystem', () => {
  it.each([
    ['a logical volume', VOLUME, 'lvm', 'native'],
    ['an image', aFilesystem(), 'reflink', 'explicit'],
    ['a dataset', DATASET, 'zfs', 'atomic'],
    ['a btrfs subvolume', seenAt(SUBVOLUME, { root: '/' }), 'btrfs', 'atomic'],
  ] as const)('are served by one snapshot: %s', (_, filesystem, provider, freezeMode) => {
    const plan = planOf([
      { filesystem },
      { filesystem: seenAt(filesystem, { mountpoint: '/bound', root: '/a/b' }), path: '/bound/c' },
    ]);
    expect(plan.sources).toMatchObject([
      { mountpoint: '/srv', otherMountpoints: ['/bound'], provider, freezeMode },
    ]);
    expect(plan.windows).toEqual([{ freeze: freezeMode === 'explicit' ? [0] : [], snapshots: [0] }]);
    expect(plan.trees).toMatchObject([
      { path: '/srv', source: 0, inside: '' },
      { path: '/bound/c', source: 0, inside: 'a/b/c' },
    ]);
    expect(plan).toMatchObject({ oneInstant: true, warnings: [] });
  });

  it('are served by what shows all of them, where none of them does', () => {
    const plan = planOf([
      { filesystem: seenAt(VOLUME, { mountpoint: '/one', root: '/data/one' }) },
      { filesystem: seenAt(VOLUME, { mountpoint: '/two', root: '/data/two/x' }), path: '/two/y' },
    ]);
    expect(plan.sources).toHaveLength(1);
    expect(plan.sources[0]?.filesystem.mount).toMatchObject({ mountpoint: '/one', root: '/data' });
    expect(plan.trees).toMatchObject([{ inside: 'one' }, { inside: 'two/x/y' }]);
  });

  it('are exposed as the one that shows all, whichever comes first', () => {
    const plan = planOf([
      { filesystem: seenAt(VOLUME, { mountpoint: '/bound', root: '/a' }) },
      { filesystem: VOLUME },
    ]);
    expect(plan.sources).toMatchObject([{ mountpoint: '/srv', otherMountpoints: ['/bound'] }]);
    expect(plan.sources[0]?.filesystem.mount).toMatchObject({ mountpoint: '/srv', root: '/' });
    expect(plan.trees).toMatchObject([{ inside: 'a' }, { inside: '' }]);
  });

  it('split a mirror once', () => {
    const plan = planOf([
      { filesystem: HALF, snapshot: 'mirror' },
      { filesystem: seenAt(HALF, { mountpoint: '/bound', root: '/a' }), snapshot: 'mirror' },
    ]);
    expect(plan.sources).toMatchObject([{ provider: 'mirror', freezeMode: 'explicit' }]);
    expect(plan.windows).toEqual([{ freeze: [0], snapshots: [0] }]);
  });

  it('share what is asked for any of them, in whatever order', () => {
    const bound = seenAt(HALF, { mountpoint: '/bound', root: '/a' });
    const pair: Source[] = [{ filesystem: bound }, { filesystem: HALF, snapshot: 'mirror' }];
    for (const sources of [pair, pair.toReversed()])
      expect(planOf(sources).sources).toMatchObject([{ provider: 'mirror', mountpoint: '/srv' }]);
    const asked = planOf(
      [
        { filesystem: bound, snapshot: 'lvm', freezeMode: 'explicit' },
        { filesystem: HALF, lvm: LVM },
      ],
      'nests',
    );
    expect(asked.sources).toMatchObject([{ provider: 'lvm', freezeMode: 'explicit', lvm: LVM }]);
  });

  it('below a source share its snapshot too', () => {
    const filesystem = seenAt(HALF, { mountpoint: '/srv/again', root: '/a' });
    const nested = [{ kind: 'submount', path: '/srv/again', fstype: 'ext4', filesystem }] as const;
    const plan = planOf([{ filesystem: HALF, snapshot: 'mirror', recursive: true }], 'nests', nested);
    expect(plan.sources).toMatchObject([{ provider: 'mirror' }]);
    expect(plan.trees).toMatchObject([{ inside: '' }, { path: '/srv/again', source: 0, inside: 'a' }]);
  });

  it.each([
    ['snapshot', { snapshot: 'lvm' }, { snapshot: 'mirror' }],
    ['freezeMode', { freezeMode: 'native' }, { freezeMode: 'explicit' }],
    ['lvm', { lvm: LVM }, { lvm: { ...LVM, extend: true } }],
  ] as const)('may not be asked for with two kinds of %s', (what, first, second) => {
    const make = () =>
      planOf(
        [
          { filesystem: HALF, ...first },
          { filesystem: seenAt(HALF, { mountpoint: '/bound', root: '/a' }), ...second },
        ],
        'nests',
      );
    expect(make).toThrow(
      expect.objectContaining({
        code: 'usage',
        message: expect.stringMatching(
          new RegExp(`^/srv and /bound lie on one filesystem.* differ in ${what}$`),
        ) as string,
      }),
    );
  });

  it('are left to commands one by one: a command is told of one mountpoint', () => {
    const plan = planOf([
      { filesystem: VOLUME, snapshot: 'command' },
      { filesystem: seenAt(VOLUME, { mountpoint: '/bound', root: '/a' }), snapshot: 'command' },
    ]);
    expect(plan.sources).toMatchObject([{ mountpoint: '/srv' }, { mountpoint: '/bound' }]);
    expect(plan.windows).toEqual([{ freeze: [0], snapshots: [0, 1] }]);
    expect(plan.trees).toMatchObject([{ inside: '' }, { source: 1, inside: '' }]);
  });

  it('are copied live one by one', () => {
    const plan = planOf([
      { filesystem: VOLUME, snapshot: 'none' },
      { filesystem: seenAt(VOLUME, { mountpoint: '/bound', root: '/a' }) },
    ]);
    expect(plan.sources).toMatchObject([{ provider: 'none' }, { provider: 'lvm' }]);
    expect(plan.trees).toMatchObject([{ inside: '/srv' }, { source: 1, inside: '' }]);
  });
});

describe('subvolumes of one btrfs', () => {
  it('are snapshotted one by one: a snapshot of one holds nothing of the others', () => {
    const other = { ...seenAt(SUBVOLUME, { mountpoint: '/other', root: '/other' }), subvolumeDevice: '42' };
    const plan = planOf([{ filesystem: SUBVOLUME }, { filesystem: other }]);
    expect(plan.sources).toMatchObject([{ mountpoint: '/srv' }, { mountpoint: '/other' }]);
    expect(plan.sources[0]?.filesystem.mount.root).toBe('/top');
    expect(plan.oneInstant).toBe(false);
  });
});
