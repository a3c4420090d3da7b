import { expect, it } from 'vitest';
import { copyOptions } from '../../../src/snapshots/expose-device.js';

it.each([
  ['xfs', true, ['nouuid', 'norecovery']],
  ['xfs', false, ['nouuid', 'norecovery']],
  ['ext4', true, []],
  ['ext4', false, ['noload']],
  ['ext3', false, ['noload']],
  ['ext2', false, []],
  ['f2fs', false, []],
] as const)('%s, taken frozen: %s, is mounted with %j', (fstype, clean, options) => {
  expect(copyOptions(fstype, clean)).toEqual(options);
});
