/** The periods of which rules keep one backup each. */
export type Period = 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';

const DAY_MS = 86_400_000;

/** ISO 8601: the week belongs to the year that its Thursday lies in. */
function isoWeek(time: Date): string {
  const midnight = Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate());
  const thursday = new Date(midnight + (4 - (time.getUTCDay() || 7)) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS));
  return `${year}-W${String(week).padStart(2, '0')}`;
}

const ISO_LENGTHS = { hourly: 13, daily: 10, monthly: 7, yearly: 4 } as const;

/** Names the period (UTC) that a time lies in: `2026-11-20T18`, `2026-11-20`, `2026-W47`, `2026-11`, `2026`. */
export function bucketOf(period: Period, time: Date): string {
  return period === 'weekly' ? isoWeek(time) : time.toISOString().slice(0, ISO_LENGTHS[period]);
}
