import { expect, it } from 'vitest';
import { MirrorProvider, mergesRightly } from '../../../src/snapshots/mirror-provider.js';
import { aVolume, onVolume } from '../../support/lvm-facts.js';

it.each([
  ['6.1.0-56-cloud-amd64', false],
  ['5.15.0', false],
  ['6.11.9', false],
  ['6.12.107+deb13-cloud-amd64', true],
  ['7.3.4+deb13-cloud-amd64', true],
  ['nonsense', false],
])('a merge on Linux %s is right: %s', (release, right) => {
  expect(mergesRightly(release)).toBe(right);
  const mirror = onVolume(aVolume({ layout: ['raid', 'raid1'] }));
  const detection = new MirrorProvider(release).detect(mirror);
  expect(detection).toMatchObject(
    right
      ? { suits: true, freezeModes: ['explicit'] }
      : { suits: false, reason: expect.stringMatching(/does not resync/) as string },
  );
});
