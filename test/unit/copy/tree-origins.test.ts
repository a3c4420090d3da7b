import { describe, expect, it } from 'vitest';
import { readAnew } from '../../../src/copy/rsync/rsync-linking.js';
import { commonOrigins, unprovenTrees } from '../../../src/copy/backup/tree-origins.js';

const SRV = { path: '/srv', origin: 'ext4 1111 inode 2' };
const WWW = { path: '/srv/www', origin: 'ext4 2222 inode 2' };
const BOTH = { '/srv': SRV.origin, '/srv/www': WWW.origin };

describe('whether an earlier copy is of the same trees', () => {
  it.each([
    ['it is', [SRV, WWW], BOTH, []],
    ['nobody knows', [SRV, WWW], undefined, ['/srv', '/srv/www']],
    ['one of them is another filesystem now', [SRV, { ...WWW, origin: 'ext4 3333' }], BOTH, ['/srv/www']],
    ['one was no source of its own', [SRV, WWW], { '/srv': SRV.origin }, ['/srv/www']],
    ['one is none any more, and what lies below its mountpoint is read', [SRV], BOTH, ['/srv']],
    ['one that was beside is gone', [WWW], { ...BOTH, '/srv/wwwold': 'x' }, []],
    ['nobody asked', [{ path: '/srv' }], undefined, []],
  ])('%s', (_, sources, before, unproven) => {
    expect([...unprovenTrees(sources, before)]).toEqual(unproven);
  });

  it('is asked of each that is linked from', () => {
    const trees = [
      { directory: '/known', takenAt: undefined, origins: { '/srv': SRV.origin, '/srv/www': 'ext4 3333' } },
      { directory: '/parent', takenAt: undefined, origins: BOTH },
    ];
    expect([...readAnew([SRV, WWW], trees)]).toEqual(['/srv/www']);
    expect([...readAnew([SRV, WWW], trees.slice(1))]).toEqual([]);
  });

  it('is known of two copies together only where both tell the same', () => {
    expect(commonOrigins(BOTH, { '/srv': SRV.origin, '/srv/www': 'ext4 3333' })).toEqual({
      '/srv': SRV.origin,
    });
    expect(commonOrigins(BOTH, undefined)).toEqual({});
  });
});
