import { describe, expect, it } from 'vitest';
import { parseSubvolumeList } from '../../../src/snapshots/nested-subvolumes.js';

describe('parseSubvolumeList', () => {
  it('gives paths from the top level, whichever way btrfs tells them', () => {
    const output = [
      'ID 256 gen 7 top level 5 path <FS_TREE>/A',
      'ID 257 gen 7 top level 256 path A/b',
      'ID 259 gen 12 top level 256 path A/dir/with space',
      '',
    ].join('\n');
    expect(parseSubvolumeList(output)).toEqual(['/A', '/A/b', '/A/dir/with space']);
  });

  it('keeps a name with newlines in it whole', () => {
    const output = 'ID 256 gen 7 top level 5 path one\ntwo\n\nthree\nID 257 gen 7 top level 5 path four\n';
    expect(parseSubvolumeList(output)).toEqual(['/one\ntwo\n\nthree', '/four']);
  });

  it('is empty for a btrfs without subvolumes', () => {
    expect(parseSubvolumeList('')).toEqual([]);
  });
});
