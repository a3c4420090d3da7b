import { describe, expect, it } from 'vitest';
import { frozenWindowOf, renderTimeline } from '../../../scripts/demo-lib/timeline.js';

const STARTED_AT = '2026-11-23T18:45:00.000Z';
const STARTED_MS = Date.parse(STARTED_AT);

function step(name: string, startMs: number, durationMs: number, frozen: boolean) {
  return { step: name, startMs, durationMs, frozen };
}

const STEPS = [
  step('sync', 0, 20, false),
  step('freeze', 20, 1.25, true),
  step('snapshot', 21.25, 4, true),
  step('thaw', 25.25, 0.5, true),
  step('copy', 30, 900, false),
];

describe('renderTimeline', () => {
  it('marks the frozen steps alone, in the order of their start', () => {
    const lines = renderTimeline(STEPS.toReversed());
    expect(lines.slice(1).map((line) => line.includes('frozen'))).toEqual([false, true, true, true, false]);
    expect(lines[2]).toBe('     20.0 ms      1.3 ms  ███ freeze     frozen');
  });
});

describe('frozenWindowOf', () => {
  it('reaches from the freeze to the end of the thaw', () => {
    expect(frozenWindowOf(STARTED_AT, STEPS)).toEqual({
      startMs: STARTED_MS + 20,
      endMs: STARTED_MS + 25.75,
    });
  });

  it('is the last one when a freeze was lost and tried again', () => {
    const again = [...STEPS.slice(0, 4), step('sync', 50, 10, false), step('freeze', 60, 5, true)];
    expect(frozenWindowOf(STARTED_AT, again)).toEqual({ startMs: STARTED_MS + 60, endMs: STARTED_MS + 65 });
  });

  it('is undefined where nothing was frozen', () => {
    expect(frozenWindowOf(STARTED_AT, [step('copy', 0, 1, false)])).toBeUndefined();
  });
});
