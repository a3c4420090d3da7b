/** One line of the result: ours against something of the same run, or against a bound. */
export interface Figure {
  what: string;
  ours: number;
  unit: 'ms' | 'MiB' | 'MB';
  baseline?: { what: string; value: number };
  /** At most: of the ratio where there is a baseline, else of our own value. */
  limit: number;
  /** What ours may take beside that, in its unit, however long the baseline takes. */
  allowance?: number;
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

/** What ours may be at most. */
function most({ baseline, limit, allowance = 0 }: Figure): number {
  return (baseline === undefined ? limit : limit * baseline.value) + allowance;
}

export function holds(figure: Figure): boolean {
  return figure.ours <= most(figure);
}

/** A line for people: what, our median, the baseline's, the ratio and whether it keeps to the limit. */
export function renderFigure(figure: Figure): string {
  const { what, ours, unit, baseline, limit, allowance, samples } = figure;
  const against = baseline === undefined ? '' : ` | ${baseline.what}: ${baseline.value.toFixed(2)} ${unit}`;
  const ratio = baseline === undefined ? '' : `${(ours / baseline.value).toFixed(2)}x, `;
  const bound = `at most ${limit}${baseline === undefined ? ` ${unit}` : 'x'}`;
  const more = allowance === undefined ? '' : ` and ${allowance} ${unit}`;
  const verdict = holds(figure) ? 'ok  ' : 'OVER';
  return `${verdict} ${what}: ${ours.toFixed(2)} ${unit}${against} | ${ratio}${bound}${more} (median of ${samples})`;
}

/** What was measured of runs of a job and of the bare tool that does its copying, in ms, a value for each sample. */
export interface CopyTimes {
  copies: readonly number[];
  runs: readonly number[];
  bares: readonly number[];
}

/** The copy of a job's run by itself, and all of that run, which may take a second more, each against the bare tool. */
export function copyFigures(what: string, bare: string, { copies, runs, bares }: CopyTimes): Figure[] {
  const against = {
    unit: 'ms',
    baseline: { what: bare, value: median(bares) },
    limit: 1.05,
    samples: bares.length,
  } as const;
  return [
    { ...against, what: `the copy of ${what}`, ours: median(copies) },
    { ...against, what: 'all of that run', ours: median(runs), allowance: 1000 },
  ];
}
