import { describe, expect, it } from 'vitest';
import { summarizeTests } from '../../../scripts/test-summary.js';

type Statuses = readonly string[];

function report(success: boolean, files: Record<string, { status: string; tests: Statuses }>): string {
  return JSON.stringify({
    success,
    testResults: Object.entries(files).map(([name, file]) => ({
      name,
      status: file.status,
      assertionResults: file.tests.map((status, index) => ({ fullName: `test ${index}`, status })),
    })),
  });
}

describe('summarizeTests', () => {
  it('counts what passed', () => {
    const summary = summarizeTests(
      report(true, { 'a.test.ts': { status: 'passed', tests: ['passed', 'passed'] } }),
      {
        skippedIsFailure: true,
      },
    );
    expect(summary).toEqual({ ok: true, problems: [], line: '2 passed, 0 failed, 0 skipped' });
  });

  it('fails for a failed test and names it', () => {
    const summary = summarizeTests(
      report(false, { 'a.test.ts': { status: 'failed', tests: ['passed', 'failed'] } }),
      {
        skippedIsFailure: false,
      },
    );
    expect(summary).toEqual({
      ok: false,
      problems: ['failed: a.test.ts: test 1'],
      line: '1 passed, 1 failed, 0 skipped',
    });
  });

  it.each(['pending', 'skipped', 'todo', 'disabled'])(
    'counts %s as skipped, a failure only when asked',
    (status) => {
      const text = report(true, { 'a.test.ts': { status: 'passed', tests: ['passed', status] } });
      expect(summarizeTests(text, { skippedIsFailure: false })).toMatchObject({ ok: true });
      expect(summarizeTests(text, { skippedIsFailure: true })).toMatchObject({
        ok: false,
        line: '1 passed, 0 failed, 1 skipped',
      });
    },
  );

  it('counts a file that could not be loaded as one failed test', () => {
    const summary = summarizeTests(
      report(false, {
        'a.test.ts': { status: 'failed', tests: [] },
        'b.test.ts': { status: 'passed', tests: ['passed'] },
      }),
      { skippedIsFailure: false },
    );
    expect(summary.ok).toBe(false);
    expect(summary.line).toBe('1 passed, 1 failed, 0 skipped');
  });

  it('fails when vitest failed for a reason of its own', () => {
    const text = report(false, { 'a.test.ts': { status: 'passed', tests: ['passed'] } });
    expect(summarizeTests(text, { skippedIsFailure: false }).ok).toBe(false);
  });

  it.each([
    ['no report', undefined],
    ['half a report', '{"success": true, "testRes'],
    ['another shape', '{"success": true}'],
  ])('fails for %s', (_, text) => {
    expect(summarizeTests(text, { skippedIsFailure: false })).toMatchObject({
      ok: false,
      line: '0 passed, 1 failed, 0 skipped',
    });
  });

  it('fails for a run without tests', () => {
    expect(summarizeTests(report(true, {}), { skippedIsFailure: false }).ok).toBe(false);
  });
});
