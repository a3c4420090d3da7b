import { describe, expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import { detectLvm } from '../../../src/snapshots/lvm-refusal.js';
import { LvmProvider } from '../../../src/snapshots/lvm-provider.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import type { NestedFreeze } from '../../../src/system/nested-freeze.js';
import { aThinVolume, aVolume, onVolume } from '../../support/lvm-facts.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';

function withLayer(dmUuid: string): FilesystemFacts {
  const filesystem = onVolume(aVolume({ above: ['253:7'] }));
  const layer = { name: 'dm-7', majorMinor: '253:7', backingFile: undefined, dmUuid };
  return { ...filesystem, stack: [layer, ...(filesystem.stack ?? [])] };
}

const ALONE = { nestedFreeze: 'unknown', grouped: false } as const;

describe('what LVM refuses', () => {
  it.each([
    ['no volume', aFilesystem(), /lies on no logical volume/],
    ['no lvm2', { ...aFilesystem(), lvmProblem: 'lvm2 is not installed' }, /lvm2 is not installed/],
    ['btrfs', onVolume(aVolume(), 'btrfs'), /has its UUID/],
    ['another filesystem', onVolume(aVolume(), 'f2fs'), /f2fs on LVM is not supported/],
    [
      'a classic snapshot, naming its origin',
      onVolume(aVolume({ lv: 'old', origin: 'srv', role: ['public', 'snapshot', 'thicksnapshot'] })),
      /data\/old is itself a classic snapshot.*data\/srv/,
    ],
    ['a cache between', withLayer('bcache'), /neither LUKS nor a partition/],
  ])('%s', (_what, filesystem, reason) => {
    expect(detectLvm(filesystem, ALONE)).toMatchObject({
      suits: false,
      reason: expect.stringMatching(reason),
    });
  });

  it('says how to get LVM to answer, where there is a volume', () => {
    const filesystem = { ...aFilesystem(), lvmProblem: 'lvm2 is not installed' };
    expect(detectLvm(filesystem, ALONE)).toMatchObject({
      suits: false,
      hint: expect.stringContaining('lvm2'),
    });
  });

  it('an XFS whose log lies elsewhere', () => {
    const filesystem = onVolume(aVolume(), 'xfs');
    const mount = { ...filesystem.mount, superOptions: ['rw', 'logdev=/dev/sdb'] };
    expect(detectLvm({ ...filesystem, mount }, ALONE)).toMatchObject({ suits: false });
  });

  it('not a thin snapshot of a thin snapshot', () => {
    const role = ['public', 'snapshot', 'thinsnapshot'];
    const nested = aThinVolume({ origin: 'srv', role });
    expect(detectLvm(onVolume(nested), ALONE)).toMatchObject({ suits: true });
  });
});

describe('how LVM freezes', () => {
  const modes = (nestedFreeze: NestedFreeze, grouped: boolean) =>
    detectLvm(onVolume(aVolume()), { nestedFreeze, grouped });

  it.each(['CRYPT-LUKS2-1234-srv', 'part1-LVM-abcd'])(
    'holds the freeze itself on every kernel when %s lies between',
    (uuid) => {
      for (const nestedFreeze of ['nests', 'refuses', 'leaks', 'unknown'] as const) {
        for (const grouped of [true, false]) {
          const detection = detectLvm(withLayer(uuid), { nestedFreeze, grouped });
          expect(detection).toMatchObject({ suits: true, freezeModes: ['explicit'] });
          expect(detection).not.toHaveProperty('warnings');
        }
      }
    },
  );

  it('leaves it to lvcreate for a single volume, on every kernel', () => {
    expect(modes('nests', false)).toMatchObject({ freezeModes: ['native', 'explicit'] });
    for (const kernel of ['refuses', 'leaks', 'unknown'] as const) {
      expect(modes(kernel, false)).toMatchObject({ freezeModes: ['native'] });
      expect(modes(kernel, false)).not.toHaveProperty('apart');
    }
  });

  it('holds several at one instant only where the kernel nests, and else says why not', () => {
    expect(modes('nests', true)).toMatchObject({ freezeModes: ['explicit', 'native'] });
    expect(modes('nests', true)).not.toHaveProperty('apart');
    for (const kernel of ['refuses', 'leaks', 'unknown'] as const) {
      expect(modes(kernel, true)).toMatchObject({
        freezeModes: ['native'],
        apart: expect.stringMatching(/kernel/),
      });
    }
  });

  it('has the origin proved afterwards on a kernel in doubt alone', () => {
    expect(modes('leaks', false)).toMatchObject({ proveOrigin: true });
    expect(modes('unknown', true)).toMatchObject({ proveOrigin: true });
    expect(modes('refuses', false)).not.toHaveProperty('proveOrigin');
    expect(modes('nests', true)).not.toHaveProperty('proveOrigin');
  });

  it('writes to the filesystem that holds the image of its disk', () => {
    const filesystem = onVolume(aVolume());
    expect(detectLvm({ ...filesystem, below: ['8:1'] }, ALONE)).toMatchObject({ writesTo: ['8:1'] });
  });
});

describe('the plan of a job on LVM', () => {
  const detectors = fakeDetectors();
  const provider = new LvmProvider();
  const plan = (freezeMode: 'explicit' | 'auto', nestedFreeze: NestedFreeze) =>
    makePlan(
      aJob({
        sources: [
          aSource({
            snapshot: 'lvm',
            freezeMode,
            lvm: { size: 'auto', extend: true, poolThresholdPercent: 80 },
          }),
        ],
      }),
      hostFacts({ sources: [sourceFacts(onVolume(aVolume()))], nestedFreeze }),
      { ...detectors, named: () => provider },
      { force: false },
    );

  it('says why explicit is not possible', () => {
    expect(() => plan('explicit', 'refuses')).toThrow(/explicit is not possible.*this kernel refuses.*EBUSY/);
    expect(() => plan('explicit', 'leaks')).toThrow(/explicit is not possible.*unmountable/);
    expect(plan('explicit', 'nests').windows).toEqual([{ freeze: [0], snapshots: [0] }]);
  });

  it('freezes nothing itself in native mode, and carries the settings', () => {
    const planned = plan('auto', 'leaks');
    expect(planned.windows).toEqual([{ freeze: [], snapshots: [0] }]);
    expect(planned.sources[0]).toMatchObject({
      freezeMode: 'native',
      consistency: 'filesystem',
      proveOrigin: true,
      lvm: { extend: true, poolThresholdPercent: 80 },
    });
  });
});
