import { describe, expect, it } from 'vitest';
import { chunksOf, complementOf, intersectionOf, normaliseExtents } from '../../../src/copy/image/extents.js';

const at = (offset: number, length: number): { offset: number; length: number } => ({ offset, length });

describe('extents of a device', () => {
  it('are put in order, joined, and cut off where the device ends', () => {
    const given = [at(90, 20), at(10, 5), at(0, 10), at(12, 10), at(120, 5)];
    expect(normaliseExtents(given, 100)).toEqual([at(0, 22), at(90, 10)]);
    expect(normaliseExtents([], 100)).toEqual([]);
  });

  it('leave gaps, also at both ends', () => {
    expect(complementOf([at(10, 10), at(50, 50)], 100)).toEqual([at(0, 10), at(20, 30)]);
    expect(complementOf([], 100)).toEqual([at(0, 100)]);
    expect(complementOf([at(0, 100)], 100)).toEqual([]);
  });

  it('have in common what both cover', () => {
    expect(intersectionOf([at(0, 30), at(40, 20)], [at(10, 35), at(59, 10)])).toEqual([
      at(10, 20),
      at(40, 5),
      at(59, 1),
    ]);
    expect(intersectionOf([at(0, 10)], [at(10, 10)])).toEqual([]);
  });

  it('are read in pieces that end at multiples of their size', () => {
    expect([...chunksOf([at(6, 20), at(30, 2)], 8)]).toEqual([
      at(6, 2),
      at(8, 8),
      at(16, 8),
      at(24, 2),
      at(30, 2),
    ]);
  });
});
