import { Flags } from '@oclif/core';
import { parseSpan } from './config/span.js';
import type { KeepRules } from './config/types.js';
import { FsbackupError } from './errors.js';

function countFlag(summary: string) {
  return Flags.integer({ summary, min: 1, max: 100_000, helpValue: 'N' });
}

/** Rules of retention, for the commands that take them. */
export const keepFlags = {
  'keep-last': countFlag('Keep the N newest.'),
  'keep-hourly': countFlag('Keep the newest of each of N hours (UTC) that have a backup.'),
  'keep-daily': countFlag('The same for days.'),
  'keep-weekly': countFlag('The same for ISO weeks.'),
  'keep-monthly': countFlag('The same for months.'),
  'keep-yearly': countFlag('The same for years.'),
  'keep-within': Flags.custom<number>({
    summary: 'Keep all that are no older than the newest one by more than this: 48h, 30d, 8w, 2y.',
    helpValue: 'SPAN',
    parse: async (text) => {
      const ms = parseSpan(text);
      if (ms !== undefined) return ms;
      throw new FsbackupError('usage', `"${text}" is not a span`, {
        hint: 'Give a number and its unit, such as 48h, 30d, 8w or 2y.',
      });
    },
  })(),
};

type ParsedKeepFlags = { [Key in keyof typeof keepFlags]?: number | undefined };

const KEYS = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;

/** The rules that were given; undefined when none was. */
export function keepRules(flags: ParsedKeepFlags): KeepRules | undefined {
  const rules: KeepRules = {};
  for (const key of KEYS) {
    const count = flags[`keep-${key}`];
    if (count !== undefined) rules[key] = count;
  }
  const within = flags['keep-within'];
  if (within !== undefined) rules.withinMs = within;
  return Object.keys(rules).length === 0 ? undefined : rules;
}
