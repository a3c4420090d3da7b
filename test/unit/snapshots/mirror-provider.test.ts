import { describe, expect, it } from 'vitest';
import { mergesRightly, MirrorProvider } from '../../../src/snapshots/mirror-provider.js';
import { aVolume, onVolume } from '../../support/lvm-facts.js';

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
