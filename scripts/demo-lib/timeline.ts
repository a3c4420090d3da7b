import type { StepReport } from '../../src/report/run-report.js';
import type { FrozenWindow } from '../../test/support/records.js';

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`.padStart(12);
}

/** The steps in the order of their start, a line each; those in the frozen window are marked. */
export function renderTimeline(steps: readonly StepReport[]): string[] {
  const ordered = steps.toSorted((a, b) => a.startMs - b.startMs);
  return [
    `${'started at'.padStart(12)}${'took'.padStart(12)}`,
    ...ordered.map(({ step, startMs, durationMs, frozen }) => {
      const mark = frozen ? '  ███ ' : '      ';
      const note = frozen ? `${step.padEnd(10)} frozen` : step;
      return `${milliseconds(startMs)}${milliseconds(durationMs)}${mark}${note}`;
    }),
  ];
}

/**
 * From the first to the last instant of the last frozen window, epoch milliseconds: earlier windows were lost and
 * tried again. Undefined where nothing was frozen.
 */
export function frozenWindowOf(startedAt: string, steps: readonly StepReport[]): FrozenWindow | undefined {
  const ordered = steps.toSorted((a, b) => a.startMs - b.startMs);
  const last = ordered.findLastIndex((step) => step.frozen);
  const before = ordered.slice(0, last).findLastIndex((step) => !step.frozen);
  const window = ordered.slice(before + 1, last + 1);
  const [first] = window;
  if (first === undefined) return undefined;
  const epochMs = Date.parse(startedAt);
  return {
    startMs: epochMs + first.startMs,
    endMs: epochMs + Math.max(...window.map((step) => step.startMs + step.durationMs)),
  };
}
