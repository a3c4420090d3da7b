import { describe, expect, it } from 'vitest';
import { byThawOrder } from '../../../src/freeze/thaw-order.js';

const upper = { since: '2026-01-02T03:04:05.000Z', sinceMs: 1000, slot: 0 };

describe('the order of a thaw', () => {
  it('is that of the freeze, the last first, though the clock was set back between the two', () => {
    const lower = { since: '2026-01-02T02:04:06.000Z', sinceMs: 2000, slot: 0 };
    expect([upper, lower].toSorted(byThawOrder)).toEqual([lower, upper]);
    expect([lower, upper].toSorted(byThawOrder)).toEqual([lower, upper]);
  });

  it('is by the slots of what was frozen together', () => {
    const lower = { ...upper, slot: 1 };
    expect([upper, lower].toSorted(byThawOrder)).toEqual([lower, upper]);
  });

  it('is by the date where a record of an earlier version has nothing better', () => {
    const lower = { since: '2026-01-02T03:04:06.000Z', slot: 0 };
    expect([upper, lower].toSorted(byThawOrder)).toEqual([lower, upper]);
  });
});
