import { describe, expect, it } from 'vitest';
import { JsonLogReporter } from '../../../src/report/json-log-reporter.js';
import { logEventSchema, type LogEvent } from '../../../src/report/log-event.js';
import { successfulReport } from '../../support/run-reports.js';

function logging(): {
  reporter: JsonLogReporter;
  lines: string[];
  events: () => LogEvent[];
  at: (ms: number) => void;
} {
  const lines: string[] = [];
  let now = 0;
  const reporter = new JsonLogReporter({
    log: (text) => void lines.push(text),
    now: () => now,
    date: () => new Date(Date.UTC(2026, 0, 2) + now),
  });
  return {
    reporter,
    lines,
    events: () => lines.map((line) => logEventSchema.parse(JSON.parse(line))),
    at: (ms) => {
      now = ms;
    },
  };
}

describe('--log-json', () => {
  it('writes no control character of a name', () => {
    const { reporter, lines, events } = logging();
    reporter.warn('a\u009B2J');
    expect(lines.join('')).not.toMatch(/[^\P{Cc}\n]/u);
    expect(events()).toMatchObject([{ message: 'a\u009B2J' }]);
  });

  it('is an event a line, each as the schema has it', () => {
    const { reporter, lines, events } = logging();
    reporter.jobStarted('srv');
    reporter.stepStarted('sync', { frozen: false });
    reporter.stepFinished('sync', 12.5);
    reporter.warn('two\nlines');
    reporter.waiting('for it');
    reporter.jobFinished(successfulReport());
    expect(lines.every((line) => line.endsWith('\n') && !line.slice(0, -1).includes('\n'))).toBe(true);
    const time = '2026-01-02T00:00:00.000Z';
    const common = { version: 1, time, job: 'srv', backupId: null };
    expect(events()).toEqual([
      { ...common, event: 'job-started' },
      { ...common, event: 'step-started', step: 'sync', frozen: false },
      { ...common, event: 'step-finished', step: 'sync', durationMs: 12.5 },
      { ...common, event: 'warning', message: 'two\nlines' },
      { ...common, event: 'waiting', message: 'for it' },
      { ...common, event: 'job-finished', outcome: 'success', exitCode: 0 },
    ]);
  });

  it('rounds as a report does, to microseconds', () => {
    const { reporter, events } = logging();
    reporter.jobStarted('srv');
    reporter.stepStarted('sync', { frozen: false });
    reporter.stepFinished('sync', 13.802_000_13);
    reporter.stepFinished('sync', 1 / 3);
    expect(events().flatMap((event) => ('durationMs' in event ? [event.durationMs] : []))).toEqual([
      13.802, 0.333,
    ]);
  });

  it('writes nothing in the window, and then with the time that it happened at', () => {
    const { reporter, lines, events, at } = logging();
    reporter.jobStarted('srv');
    reporter.stepStarted('freeze', { frozen: true });
    at(10);
    reporter.stepFinished('freeze', 10);
    reporter.warn('slow');
    expect(lines).toHaveLength(1);
    at(500);
    reporter.stepStarted('expose', { frozen: false });
    expect(events().map(({ event, time }) => `${event} ${time.slice(20, 23)}`)).toEqual([
      'job-started 000',
      'step-started 000',
      'step-finished 010',
      'warning 010',
      'step-started 500',
    ]);
  });

  it('tells progress once a second, and the last of a step, with rate and time left', () => {
    const { reporter, events, at } = logging();
    reporter.jobStarted('srv@20260102T030405Z-1a2b3c');
    reporter.stepStarted('restore', { frozen: false });
    for (let ms = 0; ms <= 2500; ms += 100) {
      at(ms);
      reporter.progress({ bytes: ms * 1000, files: ms / 100, totalBytes: 10_000_000 });
    }
    reporter.stepFinished('restore', 2500);
    reporter.workFinished({ outcome: 'partial', exitCode: 41 });
    const progress = events().filter(({ event }) => event === 'progress');
    expect(progress).toMatchObject([
      { bytes: 0, bytesPerSecond: null, secondsLeft: null, totalFiles: null },
      { bytes: 1_000_000, bytesPerSecond: 1_000_000, secondsLeft: 9 },
      { bytes: 2_000_000, bytesPerSecond: 1_000_000, secondsLeft: 8 },
      { bytes: 2_500_000, files: 25, step: 'restore', totalBytes: 10_000_000 },
    ]);
    expect(events().at(-1)).toMatchObject({
      job: 'srv',
      backupId: '20260102T030405Z-1a2b3c',
      event: 'job-finished',
      exitCode: 41,
    });
  });
});
