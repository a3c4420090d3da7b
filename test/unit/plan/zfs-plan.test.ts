import { describe, expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Detectors } from '../../../src/plan/resolve-mode.js';
import { automaticProviders, providerByName } from '../../../src/snapshots/registry.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import { aFilesystem, aJob, aSource, hostFacts, sourceFacts } from '../../support/plan-facts.js';

// The plan as the real providers decide it: that of ZFS has its place among them.
const REAL: Detectors = { auto: automaticProviders(), named: (name) => providerByName(name) };

const ZVOL: FilesystemFacts = {
  ...aFilesystem({ mountpoint: '/vol', source: '/dev/zd0', majorMinor: '230:0' }),
  stack: [{ name: 'zd0', majorMinor: '230:0', backingFile: undefined, dmUuid: undefined }],
  zfs: { dataset: 'tank/vol', kind: 'volume' },
};

function dataset(name: string, mountpoint: string, majorMinor: string): FilesystemFacts {
  return {
    ...aFilesystem({ fstype: 'zfs', source: name, mountpoint, majorMinor }),
    zfs: { dataset: name, kind: 'filesystem' },
  };
}

const SRV = dataset('tank/srv', '/srv', '0:50');

describe('the plan over ZFS', () => {
  it('takes datasets and zvols of one pool in one window, and freezes what lies on the zvols alone', () => {
    const sources = [aSource(), aSource({ path: '/vol' })];
    const facts = hostFacts({ sources: [sourceFacts(SRV), sourceFacts(ZVOL)] });
    const plan = makePlan(aJob({ sources }), facts, REAL, { force: false });
    expect(plan.sources).toMatchObject([
      { provider: 'zfs', freezeMode: 'atomic', consistency: 'filesystem' },
      { provider: 'zfs', freezeMode: 'explicit', consistency: 'filesystem' },
    ]);
    expect(plan.windows).toEqual([{ freeze: [1], snapshots: [0, 1] }]);
  });

  it('is worth a power cut where the zvol is snapshotted without a freeze', () => {
    const sources = [aSource({ path: '/vol', freezeMode: 'atomic' })];
    const plan = makePlan(aJob({ sources }), hostFacts({ sources: [sourceFacts(ZVOL)] }), REAL, {
      force: false,
    });
    expect(plan.consistency).toBe('crash');
    expect(plan.windows).toEqual([{ freeze: [], snapshots: [0] }]);
  });

  it('may not freeze a dataset: its snapshot is written to it', () => {
    const sources = [aSource({ freezeMode: 'explicit' })];
    const make = () =>
      makePlan(aJob({ sources }), hostFacts({ sources: [sourceFacts(SRV)] }), REAL, { force: false });
    expect(make).toThrow(/explicit deadlocks on \/srv/);
  });

  it('freezes what holds the file of the pool in a window of its own', () => {
    const data = aFilesystem({ mountpoint: '/data', majorMinor: '7:9', fstype: 'ext4' });
    const outer = {
      ...data,
      stack: [{ name: 'loop9', majorMinor: '7:9', backingFile: '/x/img', dmUuid: undefined }],
      images: [
        {
          device: '7:9',
          path: '/x/img',
          mount: aFilesystem({ mountpoint: '/x', majorMinor: '8:9', fstype: 'xfs' }).mount,
          offsetBytes: 0,
          sizeLimitBytes: 0,
        },
      ],
      below: ['8:9'],
    } as const;
    const sources = [aSource({ path: '/data' }), aSource({ path: '/vol' })];
    const facts = hostFacts({
      sources: [sourceFacts(outer), sourceFacts({ ...ZVOL, below: ['7:9', '8:9'] })],
      layers: { '230:0': ['7:9'], '7:9': ['8:9'] },
    });
    const plan = makePlan(aJob({ sources }), facts, REAL, { force: false });
    expect(plan.windows).toEqual([
      { freeze: [1], snapshots: [1] },
      { freeze: [0], snapshots: [0] },
    ]);
  });

  it('refuses a pool that waits for its disks, with the way out of that and no other', () => {
    const problem = { reason: 'its pool tank is SUSPENDED', hint: 'Do this: zpool clear tank' };
    const facts = hostFacts({
      sources: [sourceFacts({ ...SRV, zfs: { dataset: 'tank/srv', kind: 'filesystem', problem } })],
    });
    expect(() => makePlan(aJob(), facts, REAL, { force: false })).toThrow(
      expect.objectContaining({
        code: 'notFrozen',
        message: expect.stringContaining('/srv (zfs on tank/srv): '),
        hint: problem.hint,
      }),
    );
  });

  it('names the datasets below a recursive source that are mounted nowhere', () => {
    const unmounted = ['tank/srv/a', 'tank/srv/b', 'tank/srv/c', 'tank/srv/d'];
    const facts = hostFacts({ sources: [{ ...sourceFacts(SRV), unmounted }] });
    const sources = [aSource({ recursive: true })];
    expect(makePlan(aJob({ sources }), facts, REAL, { force: false }).warnings).toEqual([
      'the datasets tank/srv/a, tank/srv/b, tank/srv/c and 1 more below that of /srv are not in the backup: not mounted',
    ]);
  });
});
