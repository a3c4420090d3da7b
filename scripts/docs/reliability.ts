import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { RunResult } from '../../test/chaos/campaign/one-run.js';
import { parseResults } from '../../test/chaos/campaign/summary.js';
import { listFaultPoints } from '../../test/support/fault-points.js';
import { table } from './table.js';

const RESULTS = path.resolve(import.meta.dirname, '../../docs/reliability-results.jsonl');

/** Every boundary that has a name, by the file that it is in. */
export function faultPointTable(): string {
  const byFile = new Map<string, string[]>();
  for (const { name, file } of listFaultPoints())
    byFile.set(file, [...(byFile.get(file) ?? []), `\`${name}\``]);
  return table(
    ['in', 'boundaries'],
    [...byFile]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([file, names]) => [`\`${file}\``, names.join(', ')]),
  );
}

function results(): RunResult[] {
  return existsSync(RESULTS) ? parseResults(readFileSync(RESULTS, 'utf8')) : [];
}

function groups(of: (result: RunResult) => string): [string, RunResult[]][] {
  const grouped = new Map<string, RunResult[]>();
  for (const result of results()) grouped.set(of(result), [...(grouped.get(of(result)) ?? []), result]);
  return [...grouped].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function figures(some: readonly RunResult[]): string[] {
  const most = (of: (result: RunResult) => number): number =>
    some.reduce((max, one) => Math.max(max, of(one)), 0);
  return [
    String(some.length),
    String(some.filter(({ struck }) => struck).length),
    String(some.reduce((sum, { good }) => sum + good, 0)),
    `${most(({ stallMs }) => stallMs)} ms`,
    `${most(({ controlMs }) => controlMs)} ms`,
    String(some.filter(({ problems }) => problems.length > 0).length),
  ];
}

const COLUMNS = [
  'runs',
  'faults that hit',
  'good backups compared',
  'longest wait',
  'never frozen',
  'with a problem',
];

/** What the recorded runs came to, by where they ran and on what. */
export function campaignTable(): string {
  return table(
    ['where', ...COLUMNS],
    groups(({ environment, world }) => `${environment}, ${world}`).map(([name, some]) => [
      name,
      ...figures(some),
    ]),
  );
}

/** The same by fault, with the ways in which those runs ended. */
export function campaignFaultTable(): string {
  return table(
    ['fault', 'runs', 'hit', 'longest wait', 'ended with'],
    groups(({ fault }) => fault).map(([name, some]) => {
      const [runs = '', hit = '', , wait = ''] = figures(some);
      const ends = new Map<string, number>();
      for (const { ended } of some) ends.set(String(ended), (ends.get(String(ended)) ?? 0) + 1);
      const ended = [...ends].toSorted(([, a], [, b]) => b - a).map(([end, count]) => `${end} (${count})`);
      return [name, runs, hit, wait, ended.join(', ')];
    }),
  );
}

/** The recorded runs that had a problem, one line each. */
export function campaignProblems(): string {
  const bad = results().filter(({ problems }) => problems.length > 0);
  if (bad.length === 0) return 'None of the recorded runs had a problem.';
  return bad
    .map(({ seed, index, environment, world, fault, problems }) => {
      const [first = ''] = problems;
      return `- \`--seed ${seed} --only ${index}\` (${environment}, ${world}, ${fault}): ${(first.split('\n')[0] ?? '').slice(0, 160)}`;
    })
    .join('\n');
}
