const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** What a duration looks like in the configuration: a number and its unit. */
export const DURATION_PATTERN = /^\d+(\.\d+)?(ms|s|m|h)$/;

/** 24 days. A timer of Node waits 2^31 - 1 ms at most, and fires at once when it is to wait longer. */
export const MAX_DURATION_MS = 24 * 24 * 3_600_000;

function isUnit(text: string | undefined): text is keyof typeof UNIT_MS {
  return text !== undefined && Object.hasOwn(UNIT_MS, text);
}

/** `10s`, `500ms`, `1.5m`, `2h` in whole milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(text) ?? [];
  if (amount === undefined || !isUnit(unit)) return undefined;
  return Math.round(Number(amount) * UNIT_MS[unit]);
}

/** As `parseDuration`; a bare number is seconds, as the freeze ioctls of 2008 had it. For flags and environment. */
export function parseDurationOrSeconds(text: string): number | undefined {
  return parseDuration(/^\d+(\.\d+)?$/.test(text) ? `${text}s` : text);
}

/** The shortest exact form that `parseDuration` reads back: 60000 is `1m`, 90000 is `90s`. */
export function formatDuration(ms: number): string {
  if (ms % UNIT_MS.h === 0 && ms > 0) return `${ms / UNIT_MS.h}h`;
  if (ms % UNIT_MS.m === 0 && ms > 0) return `${ms / UNIT_MS.m}m`;
  return ms % UNIT_MS.s === 0 ? `${ms / UNIT_MS.s}s` : `${ms}ms`;
}
