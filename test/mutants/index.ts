import path from 'node:path';
import { parseArgs } from 'node:util';
import { KEPT } from './kept.js';
import { without, type Statement } from './statement.js';
import { statementsOf } from './statements.js';
import { SOURCES, testsOf } from './tests-of.js';
import { Workshop, type Trial } from './workshop.js';

// `npm run mutants -- [--from LINE] [--to LINE] [SOURCE…]`: deletes each statement of the freezer, its C and its TypeScript, one at
// a time, in a copy of this checkout, and sees that the compiler or a test notices. Sources are named as their files are. Exits 1 when
// one is missed by nobody that is not in kept.ts. Hours for all of them. SIGINT and SIGTERM end it after the statement that is being
// tried. Needs root and a build.

/** A bound against what hangs: the longest of the files takes a minute and a half. */
const UNTOUCHED_MS = 400_000;
const PATIENCE_MS = 60_000;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function isKept(source: string, { text }: Statement): boolean {
  return KEPT.some((kept) => kept.source === source && kept.text === text);
}

function describe(source: string, statement: Statement, trial: Trial, seconds: number): string {
  const place = `${source}:${statement.line}`;
  return `${trial.outcome.padEnd(9)} ${place}: ${statement.text} (${seconds.toFixed(0)} s: ${trial.because})`;
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    options: { from: { type: 'string', default: '1' }, to: { type: 'string', default: '100000' } },
    allowPositionals: true,
  });
  const names = SOURCES.map((source) => path.basename(source));
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0)
    throw new Error(`no such source: ${unknown.join(', ')}; one of ${names.join(', ')}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

  const tally = new Map<string, number>();
  const missed: string[] = [];
  const shop = await Workshop.open();
  try {
    for (const [index, source] of SOURCES.entries()) {
      if (positionals.length > 0 && !positionals.includes(names[index] ?? '')) continue;
      const tests = testsOf(source);
      const original = await shop.read(source);
      const begunAt = performance.now();
      const untouched = await shop.attempt(source, `${original}\n`, tests, UNTOUCHED_MS);
      if (untouched.outcome !== 'passed') throw new Error(`${source} as it is: ${untouched.because}`);
      // As long as all of them took, and what a test may wait besides.
      const limitMs = performance.now() - begunAt + PATIENCE_MS;
      for (const statement of statementsOf(source, original)) {
        if (stop.signal.aborted) break;
        if (statement.line < Number(values.from) || statement.line > Number(values.to)) continue;
        const begun = performance.now();
        const trial = await shop.attempt(source, without(original, statement), tests, limitMs);
        const line = describe(source, statement, trial, (performance.now() - begun) / 1000);
        const kept = trial.outcome === 'passed' && isKept(source, statement);
        const outcome = kept ? 'kept' : trial.outcome;
        tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
        if (outcome === 'passed') missed.push(line);
        say(line);
      }
    }
  } finally {
    await shop.close();
  }
  for (const line of missed) say(`nobody missed: ${line}`);
  say([...tally].map(([outcome, count]) => `${count} ${outcome}`).join(', '));
  return missed.length === 0;
}

if (!(await main())) process.exitCode = 1;
