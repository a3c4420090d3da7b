import { describe, expect, it } from 'vitest';
import { filesystemsBelow, reachedByWrites, topDown } from '../../../src/plan/layers.js';

const layers = { c: ['b'], b: ['a'], d: ['a', 'd'] };

describe('layers', () => {
  it('follows images all the way down, and a loop in the facts only once', () => {
    expect([...filesystemsBelow('c', layers)].toSorted()).toEqual(['a', 'b']);
    expect([...filesystemsBelow('d', layers)].toSorted()).toEqual(['a', 'd']);
    expect(filesystemsBelow('a', layers).size).toBe(0);
  });

  it('reaches what is written and all below', () => {
    expect([...reachedByWrites(['b', 'x'], layers)].toSorted()).toEqual(['a', 'b', 'x']);
  });

  it('sorts the upper before the lower and leaves equals in order', () => {
    const items = ['x', 'a', 'b', 'c', 'y'].map((majorMinor) => ({ majorMinor }));
    expect(topDown(items, layers).map(({ majorMinor }) => majorMinor)).toEqual(['c', 'b', 'x', 'a', 'y']);
  });
});
