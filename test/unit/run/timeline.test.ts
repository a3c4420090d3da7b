import { expect, it } from 'vitest';
import { silentReporter } from '../../../src/report/silent-reporter.js';
import { Timeline } from '../../../src/run/timeline.js';

it('puts its instants on the wall clock, rounded outwards', () => {
  let now = 5000.25;
  const timeline = new Timeline(
    silentReporter,
    () => now,
    () => Date.parse('2026-01-02T03:04:05.100Z'),
  );
  now = 5100.25;
  // The wall clock shows .100 for a whole millisecond: 40.5 ms before now was .0595 at the earliest, and 39.5 ms before
  // now .0615 at the latest.
  expect(timeline.wallSpan(5059.75, 5060.75)).toEqual({
    startedAt: '2026-01-02T03:04:05.059Z',
    finishedAt: '2026-01-02T03:04:05.062Z',
  });
});

it('reads the wall clock when it is asked, since that may have been set meanwhile', () => {
  let wall = Date.parse('2026-01-02T03:04:05.000Z');
  const timeline = new Timeline(
    silentReporter,
    () => 0,
    () => wall,
  );
  wall += 3_600_000;
  expect(timeline.wallSpan(0, 0).startedAt).toBe('2026-01-02T04:04:05.000Z');
});
