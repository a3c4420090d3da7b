import { describe, expect, it } from 'vitest';
import { poolProblem } from '../../../src/snapshots/lvm-intact.js';
import { snapshotBytes } from '../../../src/snapshots/lvm-size.js';
import { aVolume, GIB } from '../../support/lvm-facts.js';

const MIB = 2 ** 20;

describe('the room of a classic snapshot', () => {
  it('is a fifth of the origin by itself', () => {
    expect(snapshotBytes(aVolume(), 'auto')).toBe(20 * GIB);
  });

  it('is bounded by the free room, and leaves some', () => {
    expect(snapshotBytes(aVolume(), 'auto', 10 * GIB)).toBe(8 * GIB);
  });

  it('is no less than a journal may overwrite, and no more than the origin with its exceptions', () => {
    expect(snapshotBytes(aVolume({ sizeBytes: GIB }), 'auto')).toBe(256 * MIB);
    const small = snapshotBytes(aVolume({ sizeBytes: 100 * MIB }), 'auto');
    expect(small).toBe(104 * MIB);
    expect(snapshotBytes(aVolume({ sizeBytes: 100 * MIB }), { bytes: GIB })).toBe(small);
  });

  it('is what the configuration says, in whole extents', () => {
    expect(snapshotBytes(aVolume(), { percentOfOrigin: 5 })).toBe(5 * GIB);
    expect(snapshotBytes(aVolume(), { bytes: 10 * MIB })).toBe(8 * MIB);
    expect(snapshotBytes(aVolume(), { bytes: 1 })).toBe(4 * MIB);
  });

  it.each([
    ['auto', 0],
    ['auto', 100 * MIB],
    [{ bytes: 5 * GIB }, 4 * GIB],
    [{ percentOfOrigin: 50 }, 49 * GIB],
  ] as const)('is refused where the group has too little: %j of %i', (size, freeBytes) => {
    expect(() => snapshotBytes(aVolume(), size, freeBytes)).toThrow(
      /volume group data has too little room.*data\/srv/,
    );
  });
});

describe('the pool of a thin volume', () => {
  const pool = { lv: 'pool', dataPercent: 50, metadataPercent: 20, whenFull: 'queue' };

  it('is judged by the fuller of data and metadata', () => {
    expect(poolProblem('data', pool, 90)).toBeUndefined();
    expect(poolProblem('data', { ...pool, dataPercent: 90 }, 90)).toMatch(
      /data\/pool is filled to 90 % \(data\).*wait/,
    );
    expect(poolProblem('data', { ...pool, metadataPercent: 95, whenFull: 'error' }, 90)).toMatch(
      /metadata.*fail/,
    );
  });

  it('is full when nothing is known of it', () => {
    expect(poolProblem('data', { ...pool, metadataPercent: undefined }, 90)).toMatch(/100 %/);
  });
});
