import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchBlocked } from '../../../src/freeze/watch-blocked.js';
import type { BlockedProcess } from '../../../src/system/blocked-programs.js';

const MAX_HOLD_MS = 60_000;

const blocked = (pid: number, switches: number): BlockedProcess => ({ pid, name: 'cp', switches });

describe('the watch over a held command', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('names what waited from one look to the next, shortly before the cap', async () => {
    const looks = [
      [blocked(1, 7), blocked(2, 7), blocked(3, 7)],
      [blocked(1, 7), blocked(2, 8), blocked(4, 7)],
    ];
    const asked: number[] = [];
    const watch = watchBlocked(5, MAX_HOLD_MS, async (session) => {
      asked.push(session);
      return looks[asked.length - 1] ?? [];
    });
    vi.advanceTimersByTime(MAX_HOLD_MS - 2001);
    expect(asked).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(asked).toEqual([5]);
    vi.advanceTimersByTime(1000);
    expect(asked).toEqual([5, 5]);
    expect(await watch.stop()).toEqual([blocked(1, 7)]);
  });

  it('looks no more once it is stopped, and names nothing for one look', async () => {
    let looks = 0;
    const watch = watchBlocked(5, MAX_HOLD_MS, async () => {
      looks += 1;
      return [blocked(1, 7)];
    });
    vi.advanceTimersByTime(MAX_HOLD_MS - 2000);
    expect(await watch.stop()).toEqual([]);
    vi.advanceTimersByTime(MAX_HOLD_MS);
    expect(looks).toBe(1);
  });

  it('fits into a short hold, and bears that nobody can be looked at', async () => {
    let looks = 0;
    const watch = watchBlocked(5, 400, async () => {
      looks += 1;
      throw new Error('EMFILE');
    });
    vi.advanceTimersByTime(200);
    expect(looks).toBe(1);
    vi.advanceTimersByTime(100);
    expect(looks).toBe(2);
    expect(await watch.stop()).toEqual([]);
  });
});
