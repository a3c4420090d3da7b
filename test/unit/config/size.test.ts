import { describe, expect, it } from 'vitest';
import {
  formatSize,
  formatSnapshotSize,
  parsePercent,
  parseSize,
  parseSnapshotSize,
} from '../../../src/config/size.js';

describe('sizes', () => {
  it.each([
    ['512B', 512],
    ['1KiB', 1024],
    ['1.5MiB', 1_572_864],
    ['5GiB', 5_368_709_120],
    ['2TiB', 2_199_023_255_552],
    ['0B', 0],
  ])('%s is %i bytes, and back', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
    expect(parseSize(formatSize(bytes))).toBe(bytes);
  });

  it.each(['', '5', 'GiB', '5 GiB', '5GB', '5G', '-5GiB', '5constructor', '5gib'])('refuses "%s"', (text) => {
    expect(parseSize(text)).toBeUndefined();
    expect(parseSnapshotSize(text)).toBeUndefined();
  });
});

describe('sizes of classic snapshots', () => {
  it.each([
    ['auto', 'auto'],
    ['20%ORIGIN', { percentOfOrigin: 20 }],
    ['2.5%ORIGIN', { percentOfOrigin: 2.5 }],
    ['5GiB', { bytes: 5_368_709_120 }],
  ])('reads %s, and back', (text, size) => {
    const parsed = parseSnapshotSize(text);
    expect(parsed).toEqual(size);
    expect(parsed === undefined ? undefined : formatSnapshotSize(parsed)).toBe(text);
  });

  it.each(['20%', '20%FREE', '0%ORIGIN', '0B', '%ORIGIN', 'ORIGIN'])('refuses "%s"', (text) => {
    expect(parseSnapshotSize(text)).toBeUndefined();
  });
});

describe('parsePercent', () => {
  it('reads a number and its sign', () => {
    expect(parsePercent('90%')).toBe(90);
    expect(parsePercent('99.5%')).toBe(99.5);
    expect(parsePercent('90')).toBeUndefined();
    expect(parsePercent('-1%')).toBeUndefined();
  });
});
