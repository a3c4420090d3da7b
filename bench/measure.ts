/** One line of the result: ours against something of the same run, or against a bound. */
export interface Figure {
  what: string;
  ours: number;
  unit: 'ms' | 'MiB' | 'MB';
  baseline?: { what: string; value: number };
  /** At most: of the ratio where there is a baseline, else of our own value. */
  limit: number;
  samples: number;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  const lower = sorted[sorted.length % 2 === 1 ? middle : middle - 1];
  if (upper === undefined || lower === undefined) throw new Error('no samples');
  return (lower + upper) / 2;
}

/** The number that the limit is about. */
function judged(figure: Figure): number {
  return figure.baseline === undefined ? figure.ours : figure.ours / figure.baseline.value;
}

export function holds(figure: Figure): boolean {
  return judged(figure) <= figure.limit;
}

/** A line for people: what, our median, the baseline's, the ratio and whether it keeps to the limit. */
export function renderFigure(figure: Figure): string {
  const { what, ours, unit, baseline, limit, samples } = figure;
  const against = baseline === undefined ? '' : ` | ${baseline.what}: ${baseline.value.toFixed(2)} ${unit}`;
  const verdict =
    baseline === undefined ? `at most ${limit} ${unit}` : `${judged(figure).toFixed(2)}x, at most ${limit}x`;
  return `${holds(figure) ? 'ok  ' : 'OVER'} ${what}: ${ours.toFixed(2)} ${unit}${against} | ${verdict} (median of ${samples})`;
}
