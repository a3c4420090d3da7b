import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';

/** What is read of the file that vitest's JSON reporter writes. */
const resultsSchema = z.object({
  success: z.boolean(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
});

/** What became of a whole test run. */
export interface TestSummary {
  ok: boolean;
  /** Why not, a line each. */
  problems: string[];
  /** `N passed, N failed, N skipped`. */
  line: string;
}

/** A report, and where its tests were run: the host, or a guest of the lab. */
export interface TestReport {
  where: string;
  /** The text of vitest's JSON report. */
  report: string | undefined;
}

interface Counts {
  success: boolean;
  passed: number;
  failed: number;
  skipped: number;
  problems: string[];
}

function count({ where, report }: TestReport): Counts {
  let parsed;
  try {
    parsed = resultsSchema.safeParse(JSON.parse(report ?? ''));
  } catch {
    parsed = undefined;
  }
  if (parsed?.success !== true) {
    return {
      success: false,
      passed: 0,
      failed: 1,
      skipped: 0,
      problems: [`${where}: vitest left no report`],
    };
  }
  const counts: Counts = { success: parsed.data.success, passed: 0, failed: 0, skipped: 0, problems: [] };
  for (const file of parsed.data.testResults) {
    const before = counts.failed;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') {
        counts.passed += 1;
      } else if (test.status === 'failed') {
        counts.failed += 1;
        counts.problems.push(`${where}: failed: ${file.name}: ${test.fullName}`);
      } else {
        counts.skipped += 1;
        counts.problems.push(`${where}: ${test.status}: ${file.name}: ${test.fullName}`);
      }
    }
    if (file.status === 'failed' && counts.failed === before) {
      counts.failed += 1;
      counts.problems.push(`${where}: failed: ${file.name}: the file itself`);
    }
  }
  return counts;
}

/**
 * Sums up several of vitest's JSON reports. A file that could not even be loaded counts as one failed test, a report
 * that is missing or not whole (undefined, bad JSON) too. A skipped or todo test makes the run fail only with
 * `skippedIsFailure`; a run without any test always fails.
 */
export function summarizeReports(
  reports: readonly TestReport[],
  options: { skippedIsFailure: boolean },
): TestSummary {
  const all = reports.map(count);
  const sum = (what: 'passed' | 'failed' | 'skipped'): number =>
    all.reduce((total, counts) => total + counts[what], 0);
  const [passed, failed, skipped] = [sum('passed'), sum('failed'), sum('skipped')];
  const problems = all.flatMap((counts) => counts.problems);
  if (passed + failed + skipped === 0) problems.push('no test was run');
  const succeeded = all.every((counts) => counts.success) && failed === 0 && passed > 0;
  return {
    ok: succeeded && !(options.skippedIsFailure && skipped > 0),
    problems,
    line: `${passed} passed, ${failed} failed, ${skipped} skipped`,
  };
}

/** Each argument names a report: `WHERE=FILE`. */
async function main(args: readonly string[]): Promise<void> {
  const reports = await Promise.all(
    args.map(async (argument) => {
      const separator = argument.indexOf('=');
      const report = await readFile(argument.slice(separator + 1), 'utf8').catch(() => undefined);
      return { where: argument.slice(0, separator), report };
    }),
  );
  const summary = summarizeReports(reports, { skippedIsFailure: process.env['CI'] === 'true' });
  for (const line of [...summary.problems, summary.line]) console.log(line);
  process.exitCode = summary.ok ? 0 : 1;
}

const [, script, ...args] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) await main(args);
