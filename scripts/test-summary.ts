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

/**
 * Sums up the text of vitest's JSON report. A file that could not even be loaded counts as one failed test, a report
 * that is missing or not whole (undefined, bad JSON) too. A skipped or todo test makes the run fail only with
 * `skippedIsFailure`; a run without any test always fails.
 */
export function summarizeTests(
  report: string | undefined,
  options: { skippedIsFailure: boolean },
): TestSummary {
  let parsed;
  try {
    parsed = resultsSchema.safeParse(JSON.parse(report ?? ''));
  } catch {
    parsed = undefined;
  }
  if (parsed?.success !== true) {
    return { ok: false, problems: ['vitest left no report'], line: '0 passed, 1 failed, 0 skipped' };
  }
  const problems: string[] = [];
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  for (const file of parsed.data.testResults) {
    const before = failed;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') {
        passed += 1;
      } else if (test.status === 'failed') {
        failed += 1;
        problems.push(`failed: ${file.name}: ${test.fullName}`);
      } else {
        skipped += 1;
        problems.push(`${test.status}: ${file.name}: ${test.fullName}`);
      }
    }
    if (file.status === 'failed' && failed === before) {
      failed += 1;
      problems.push(`failed: ${file.name}: the file itself`);
    }
  }
  if (passed + failed + skipped === 0) problems.push('no test was run');
  return {
    ok: parsed.data.success && failed === 0 && passed > 0 && !(options.skippedIsFailure && skipped > 0),
    problems,
    line: `${passed} passed, ${failed} failed, ${skipped} skipped`,
  };
}

async function main(resultsFile: string): Promise<void> {
  const report = await readFile(resultsFile, 'utf8').catch(() => undefined);
  const summary = summarizeTests(report, { skippedIsFailure: process.env['CI'] === 'true' });
  for (const problem of summary.problems) console.log(problem);
  console.log(summary.line);
  process.exitCode = summary.ok ? 0 : 1;
}

const [, script, resultsFile] = process.argv;
if (script !== undefined && resultsFile !== undefined && import.meta.url === pathToFileURL(script).href) {
  await main(resultsFile);
}
