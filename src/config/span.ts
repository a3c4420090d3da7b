const HOUR_MS = 3_600_000;
const UNIT_MS = { h: HOUR_MS, d: 24 * HOUR_MS, w: 7 * 24 * HOUR_MS, y: 365 * 24 * HOUR_MS } as const;

/** What a span of `within` looks like. No `m`: it would be minutes to one reader and months to the next. */
export const SPAN_PATTERN = /^[1-9]\d{0,5}[hdwy]$/;

function isUnit(text: string | undefined): text is keyof typeof UNIT_MS {
  return text !== undefined && Object.hasOwn(UNIT_MS, text);
}

/** `48h`, `30d`, `8w`, `2y` (of 365 days) in milliseconds; undefined for anything else. */
export function parseSpan(text: string): number | undefined {
  const unit = text.at(-1);
  return SPAN_PATTERN.test(text) && isUnit(unit) ? Number(text.slice(0, -1)) * UNIT_MS[unit] : undefined;
}

/** The form with the largest unit that `parseSpan` reads back. */
export function formatSpan(ms: number): string {
  for (const unit of ['y', 'w', 'd'] as const) {
    if (ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${Math.round(ms / HOUR_MS)}h`;
}
