import type { RunResult } from './one-run.js';

/** Reads results back: a line each; one that a crash cut short is none. */
export function parseResults(text: string): RunResult[] {
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as RunResult];
    } catch {
      return [];
    }
  });
}

function maximum(results: readonly RunResult[], of: (result: RunResult) => number): number {
  return results.reduce((most, result) => Math.max(most, of(result)), 0);
}

/** The figures of some runs, for people. */
export function summarise(results: readonly RunResult[]): string {
  const bad = results.filter(({ problems }) => problems.length > 0);
  const struck = results.filter((result) => result.struck);
  const slowest = maximum(struck, ({ stallMs }) => stallMs);
  const lines = [
    `${results.length} runs, ${struck.length} faults that hit, ${results.reduce((sum, { good }) => sum + good, 0)} good backups compared, ${bad.length} runs with a problem`,
    `slowest thaw: a writer waited ${slowest} ms; one on a filesystem that is never frozen ${maximum(results, ({ controlMs }) => controlMs)} ms`,
    ...bad.map(({ seed, index, problems }) => `--seed ${seed} --only ${index}: ${problems[0]}`),
  ];
  return lines.join('\n');
}

/** What became of one run, for people: a line, and one for each problem. */
export function describeRun({
  seed,
  index,
  world,
  fault,
  moment,
  ended,
  stallMs,
  seconds,
  problems,
}: RunResult): string {
  const line = `${index}  ${world}  ${fault} at ${moment}: ${ended}, ${stallMs} ms, ${seconds} s\n`;
  return [
    line,
    ...problems.map((problem) => `  PROBLEM (--seed ${seed} --only ${index}): ${problem}\n`),
  ].join('');
}
