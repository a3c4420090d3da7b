import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration, parseDurationOrSeconds } from '../../../src/config/duration.js';

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['10s', 10_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['0s', 0],
  ])('%s is %i ms, and back', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
    expect(parseDuration(formatDuration(ms))).toBe(ms);
  });

  it.each(['', '10', 's', '10 s', '-1s', '1d', '1s1s', '1e3s', '10constructor', '.5s'])(
    'refuses "%s"',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  it('takes a bare number as seconds where that is asked for', () => {
    expect(parseDurationOrSeconds('10')).toBe(10_000);
    expect(parseDurationOrSeconds('0.5')).toBe(500);
    expect(parseDurationOrSeconds('10ms')).toBe(10);
    expect(parseDurationOrSeconds('ten')).toBeUndefined();
  });
});
