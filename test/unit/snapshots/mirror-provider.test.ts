import { describe, expect, it } from 'vitest';
import { mergesRightly, MirrorProvider } from '../../../src/snapshots/mirror-provider.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import { aVolume, onVolume } from '../../support/lvm-facts.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';

const MIRROR = onVolume(aVolume({ layout: ['raid', 'raid1'] }));

describe('a merge', () => {
  it.each(['6.12.107+deb13-cloud-amd64', '6.18.44', '7.3.4+deb13-cloud-amd64'])(
    'is right on %s',
    (release) => {
      expect(mergesRightly(release)).toBe(true);
      expect(new MirrorProvider(release).detect(MIRROR)).toMatchObject({ freezeModes: ['explicit'] });
    },
  );

  it.each(['6.1.0-56-cloud-amd64', '5.15.0', '6.11.9', 'nonsense'])('is not trusted on %s', (release) => {
    expect(mergesRightly(release)).toBe(false);
    expect(new MirrorProvider(release).detect(MIRROR)).toMatchObject({
      suits: false,
      reason: expect.stringContaining('does not resync') as string,
    });
  });
});

describe('a mirror whose disks are image files', () => {
  const below = ['8:1'];
  const provider = new MirrorProvider('6.12.107');

  it('writes to the filesystem that holds them', () => {
    expect(provider.detect({ ...MIRROR, below })).toMatchObject({ writesTo: ['8:1'] });
    expect(provider.detect(MIRROR)).toMatchObject({ writesTo: [] });
  });

  it('is not split while that filesystem is frozen for the same job', () => {
    const storage = aFilesystem({ majorMinor: '8:1', mountpoint: '/images' });
    const plan = makePlan(
      aJob({
        sources: [aSource({ snapshot: 'mirror' }), aSource({ path: '/images', snapshot: 'command' })],
      }),
      hostFacts({
        sources: [sourceFacts({ ...MIRROR, below }), sourceFacts(storage)],
        inUse: [],
        layers: { [MIRROR.mount.majorMinor]: ['8:1'] },
      }),
      fakeDetectors({ mirror: (filesystem) => provider.detect(filesystem) }),
      { force: false },
    );
    expect(plan.windows).toEqual([
      { freeze: [0], snapshots: [0] },
      { freeze: [1], snapshots: [1] },
    ]);
  });
});
