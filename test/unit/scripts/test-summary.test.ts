import { describe, expect, it } from 'vitest';
import { summarizeReports, type TestSummary } from '../../../scripts/test-summary.js';

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

function summarizeTests(text: string | undefined, options: { skippedIsFailure: boolean }): TestSummary {
  return summarizeReports([{ where: 'host', report: text }], options);
}

describe('summarizeReports', () => {
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
      problems: ['host: failed: a.test.ts: test 1'],
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

  it('adds up the reports of several places and names the place of a failure', () => {
    const reports = [
      {
        where: 'host',
        report: report(true, { 'a.test.ts': { status: 'passed', tests: ['passed', 'passed'] } }),
      },
      {
        where: '6.1',
        report: report(false, { 'b.test.ts': { status: 'failed', tests: ['passed', 'failed'] } }),
      },
    ];
    expect(summarizeReports(reports, { skippedIsFailure: false })).toEqual({
      ok: false,
      problems: ['6.1: failed: b.test.ts: test 1'],
      line: '3 passed, 1 failed, 0 skipped',
    });
  });

  it('fails when one place has left no report', () => {
    const reports = [
      { where: 'host', report: report(true, { 'a.test.ts': { status: 'passed', tests: ['passed'] } }) },
      { where: '6.1', report: undefined },
    ];
    const summary = summarizeReports(reports, { skippedIsFailure: false });
    expect(summary).toMatchObject({ ok: false, line: '1 passed, 1 failed, 0 skipped' });
    expect(summary.problems).toEqual(['6.1: vitest left no report']);
  });

  it('passes when a place had no test to run but another had', () => {
    const reports = [
      { where: '6.1', report: report(true, { 'a.test.ts': { status: 'passed', tests: [] } }) },
      { where: '7', report: report(true, { 'a.test.ts': { status: 'passed', tests: ['passed'] } }) },
    ];
    expect(summarizeReports(reports, { skippedIsFailure: true }).ok).toBe(true);
  });
});
