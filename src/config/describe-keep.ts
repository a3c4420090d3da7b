import { formatSpan } from './span.js';
import type { KeepRules } from './types.js';

/** The rules in one clause: `daily 7, within 30d`. */
export function describeKeep({ withinMs, ...counts }: KeepRules): string {
  const rules = Object.entries(counts).map(([rule, count]) => `${rule} ${count}`);
  if (withinMs !== undefined) rules.push(`within ${formatSpan(withinMs)}`);
  return rules.join(', ');
}
