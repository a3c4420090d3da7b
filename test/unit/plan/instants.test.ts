import { describe, expect, it } from 'vitest';
import type { SourceConfig } from '../../../src/config/types.js';
import { numberInstants, type InstantCandidate } from '../../../src/plan/instants.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan } from '../../../src/plan/plan.js';
import { renderPlan } from '../../../src/plan/render-plan.js';
import { automaticProviders, providerByName } from '../../../src/snapshots/registry.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import type { NestedFreeze } from '../../../src/system/nested-freeze.js';
import { aVolume, onVolume } from '../../support/lvm-facts.js';
import { aFilesystem, aJob, aSource, hostFacts, sourceFacts } from '../../support/plan-facts.js';

const held = (window = 0): InstantCandidate => ({ window, isHeld: true });
const by = (together?: string, window = 0): InstantCandidate => ({ window, isHeld: false, together });

describe('the instants of snapshots', () => {
  it.each([
    ['all held frozen', [held(), held()], [1, 1]],
    ['one made while the others are held', [by(), held(), held()], [1, 1, 1]],
    ['two made by themselves', [by(), by()], [1, 2]],
    ['two made by themselves while another is held', [held(), by(), by()], [1, 2, 3]],
    ['two made together', [by('zfs tank'), by('zfs tank'), held()], [1, 1, 1]],
    ['two pools', [by('zfs a'), by('zfs b'), by('zfs a')], [1, 2, 1]],
    ['two windows', [held(0), held(1), held(0)], [1, 2, 1]],
    ['one pool in two windows', [by('zfs a', 0), by('zfs a', 1)], [1, 2]],
    ['one without a snapshot', [held(), { window: null, isHeld: false }], [1, null]],
  ] as const)('are numbered: %s', (_, candidates, numbers) => {
    expect(numberInstants(candidates)).toEqual(numbers);
  });
});

// As the real providers decide it.
const REAL = {
  auto: automaticProviders(),
  named: (name: Parameters<typeof providerByName>[0]) =>
    providerByName(name, { create: ['x'], expose: ['x'], remove: ['x'] }),
};

interface Options {
  nestedFreeze?: NestedFreeze;
  mustBeOneInstant?: boolean;
  of?: Partial<SourceConfig>;
}

function planOf(filesystems: readonly FilesystemFacts[], options: Options = {}): Plan {
  const { nestedFreeze = 'refuses', mustBeOneInstant = false, of } = options;
  const sources = filesystems.map(({ mount }) => aSource({ path: mount.mountpoint, ...of }));
  return makePlan(
    aJob({ sources, mustBeOneInstant }),
    hostFacts({ nestedFreeze, sources: filesystems.map((filesystem) => sourceFacts(filesystem)) }),
    REAL,
    { force: false },
  );
}

function btrfs(number: number, subvolume = number): FilesystemFacts {
  const where = { fstype: 'btrfs', majorMinor: `0:${number}`, mountpoint: `/btrfs${subvolume}` } as const;
  return { ...aFilesystem({ ...where, root: `/${subvolume}` }), subvolumeDevice: `${subvolume}` };
}

function dataset(name: string, number: number): FilesystemFacts {
  const where = { fstype: 'zfs', source: name, majorMinor: `0:${number}`, mountpoint: `/${name}` } as const;
  return { ...aFilesystem(where), zfs: { dataset: name, kind: 'filesystem' } };
}

function volume(lv: string, number: number): FilesystemFacts {
  const majorMinor = `253:${number}`;
  const found = onVolume(aVolume({ lv, majorMinor }));
  return { ...found, mount: { ...found.mount, majorMinor, mountpoint: `/${lv}` } };
}

function zvol(number: number, partition?: number): FilesystemFacts {
  const majorMinor = `230:${number}`;
  return {
    ...aFilesystem({ majorMinor, mountpoint: `/zvol${number}` }),
    stack: [{ name: `zd${number}`, majorMinor, backingFile: undefined, dmUuid: undefined }],
    zfs: { dataset: 'tank/vol', kind: 'volume', ...(partition === undefined ? {} : { partition }) },
  };
}

describe('the plan of a job', () => {
  it.each([
    ['two btrfs', [btrfs(40), btrfs(41)]],
    ['two subvolumes of one btrfs', [btrfs(40, 1), btrfs(40, 2)]],
    ['datasets of two pools', [dataset('tank/a', 50), dataset('other/a', 51)]],
    ['a btrfs and a dataset', [btrfs(40), dataset('tank/a', 50)]],
  ] as const)('says of %s that they are not at one instant, and warns of nothing', (_, filesystems) => {
    const plan = planOf(filesystems);
    const [first, second] = plan.sources;
    expect(plan).toMatchObject({
      oneInstant: false,
      warnings: [],
      sources: [{ instant: 1 }, { instant: 2 }],
    });
    expect(renderPlan(plan).split('\n', 1)[0]).toContain(
      `, not at one instant (${first?.mountpoint}; ${second?.mountpoint}), `,
    );
    expect(renderPlan(plan)).not.toMatch(/, at one instant/);
  });

  it.each([
    ['a single btrfs', [btrfs(40)]],
    ['datasets of one pool', [dataset('tank/a', 50), dataset('tank/b', 51)]],
    ['a zvol, frozen, and datasets of its pool', [zvol(0), dataset('tank/a', 50), dataset('tank/b', 51)]],
    ['a frozen zvol and one btrfs, taken meanwhile', [zvol(0), btrfs(40)]],
    ['a frozen zvol and one volume of LVM, taken meanwhile', [zvol(0), volume('srv', 0)]],
    ['two partitions of a zvol, both frozen', [zvol(1, 1), zvol(2, 2)]],
  ] as const)('says of %s that all is at one instant', (_, filesystems) => {
    const plan = planOf(filesystems);
    expect(plan).toMatchObject({ oneInstant: true, warnings: [] });
    expect(renderPlan(plan)).toContain(', at one instant, ');
    expect(planOf(filesystems, { mustBeOneInstant: true }).oneInstant).toBe(true);
  });

  it('warns of volumes of LVM that another kernel would take at one instant', () => {
    const pair = [volume('a', 0), volume('b', 1)];
    expect(planOf(pair, { nestedFreeze: 'nests' })).toMatchObject({ oneInstant: true, warnings: [] });
    expect(planOf(pair)).toMatchObject({
      oneInstant: false,
      warnings: [
        expect.stringMatching(/^\/a is not at one instant with the rest of the job: this kernel refuses/),
        expect.stringMatching(/^\/b is not at one instant/),
      ],
    });
    const mixed = [volume('a', 0), btrfs(40)];
    expect(planOf(mixed, { nestedFreeze: 'nests' })).toMatchObject({ oneInstant: true, warnings: [] });
    expect(planOf(mixed)).toMatchObject({
      oneInstant: false,
      warnings: [expect.stringMatching(/^\/a is not/)],
    });
  });

  it('counts two partitions of a zvol that are not frozen as two', () => {
    const of = { freezeMode: 'atomic' } as const;
    expect(planOf([zvol(1, 1), zvol(2, 2)], { of }).oneInstant).toBe(false);
    expect(planOf([zvol(1)], { of }).oneInstant).toBe(true);
  });

  it('counts each command as an instant of its own, unless its filesystem is frozen', () => {
    const pair = [aFilesystem(), aFilesystem({ majorMinor: '7:2', mountpoint: '/home' })];
    const commands = { create: ['x'], expose: ['x'], remove: ['x'] };
    const of = (freezeMode: 'explicit' | 'native' | 'atomic') =>
      planOf(pair, { of: { snapshot: 'command', commands, freezeMode } }).oneInstant;
    expect([of('explicit'), of('native'), of('atomic')]).toEqual([true, false, false]);
  });

  it('is at no instant where a live tree is in it', () => {
    const plan = planOf([btrfs(40)], { of: { snapshot: 'none' } });
    expect(plan).toMatchObject({ oneInstant: false, sources: [{ instant: null }] });
    expect(renderPlan(plan)).toContain('not at one instant (/btrfs40 at no instant)');
  });

  it.each([
    ['two btrfs', [btrfs(40), btrfs(41)], {}, /^The job srv must be at one instant.*: \/btrfs40; \/btrfs41$/],
    [
      'a kernel',
      [volume('a', 0), volume('b', 1)],
      {},
      /\/a; \/b \(\/a is not at one instant.*this kernel refuses/,
    ],
    ['a live tree', [btrfs(40)], { snapshot: 'none' }, /\/btrfs40 at no instant$/],
  ] as const)(
    'is refused where it must be at one instant and is not, for %s',
    (_, filesystems, of, message) => {
      expect(() => planOf(filesystems, { of, mustBeOneInstant: true })).toThrow(
        expect.objectContaining({
          code: 'usage',
          message: expect.stringMatching(message) as string,
          hint: expect.stringContaining('mustBeOneInstant') as string,
        }),
      );
    },
  );
});
