import { describe, expect, it } from 'vitest';
import { within } from '../../../src/freeze/within.js';

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

describe('within', () => {
  it('gives the answer, and leaves no timer that keeps the process alive', async () => {
    const before = timers();
    expect(await within(3_600_000, Promise.resolve(true))).toBe(true);
    expect(await within(3_600_000, Promise.resolve(false))).toBe(false);
    expect(timers()).toBe(before);
  });

  it('gives up when no answer comes', async () => {
    expect(await within(1, new Promise(() => undefined))).toBe(false);
  });
});
