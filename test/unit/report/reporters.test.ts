import { PassThrough } from 'node:stream';
import { Chalk } from 'chalk';
import { describe, expect, it, vi } from 'vitest';
import { chooseReporter } from '../../../src/report/choose-reporter.js';
import { PlainReporter } from '../../../src/report/plain-reporter.js';
import { quietReporter } from '../../../src/report/quiet-reporter.js';
import type { Reporter } from '../../../src/report/reporter.js';
import { silentReporter } from '../../../src/report/silent-reporter.js';
import { chooseSymbols } from '../../../src/report/symbols.js';
import { TerminalReporter } from '../../../src/report/terminal-reporter.js';
import { failedReport, successfulReport } from '../../support/run-reports.js';

const style = { chalk: new Chalk({ level: 0 }), symbols: chooseSymbols({ LANG: 'C' }) };

/** A stream that keeps what is written to it; a terminal to ora. */
function fakeStream(isTTY: boolean): { stream: NodeJS.WriteStream; written: () => string } {
  const stream = Object.assign(new PassThrough(), {
    isTTY,
    columns: 200,
    rows: 50,
    cursorTo: () => true,
    moveCursor: () => true,
    clearLine: () => true,
  }) as unknown as NodeJS.WriteStream;
  const chunks: string[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  return { stream, written: () => chunks.join('') };
}

/** A terminal reporter and what it wrote, in order. */
function terminal(): { reporter: Reporter; written: string[] } {
  const written: string[] = [];
  const { stream } = fakeStream(true);
  stream.write = (chunk: unknown): boolean => {
    written.push(String(chunk));
    return true;
  };
  const output = {
    log: (text: string): void => void stream.write(text),
    result: (text: string): void => void written.push(text),
    now: () => 0,
  };
  return { reporter: new TerminalReporter(output, { stream, style, resultStyle: style }), written };
}

function plain(): { reporter: Reporter; written: string[]; at: (ms: number) => void } {
  const written: string[] = [];
  const write = (text: string): void => void written.push(text);
  let now = 0;
  const reporter = new PlainReporter({ log: write, result: write, now: () => now }, style);
  return {
    reporter,
    written,
    at: (ms) => {
      now = ms;
    },
  };
}

/** A quiet reporter and what it wrote. */
function quiet(): { reporter: Reporter; written: string[] } {
  const written: string[] = [];
  return { reporter: quietReporter((text) => void written.push(text), style), written };
}

/** All that a run tells in its window, a warning and a failure included. */
function playWindow(reporter: Reporter): void {
  reporter.stepStarted('freeze', { frozen: true });
  reporter.stepFinished('freeze', 39);
  reporter.stepStarted('snapshot', { frozen: true });
  reporter.warn('slow storage');
  reporter.progress({ bytes: 1, files: 1 });
  reporter.stepFailed('snapshot', 'no room');
  reporter.stepStarted('thaw', { frozen: true });
  reporter.stepFinished('thaw', 0.2);
}

describe('in the window', () => {
  it('a terminal gets nothing: no line, no frame of a spinner that went on before', () => {
    vi.useFakeTimers();
    try {
      const { reporter, written } = terminal();
      reporter.jobStarted('srv');
      reporter.stepStarted('attempt', { frozen: false });
      vi.advanceTimersByTime(500);
      expect(written.join('')).toContain('attempt');
      reporter.stepStarted('freeze', { frozen: true });
      const before = written.length;
      playWindow(reporter);
      vi.advanceTimersByTime(5000);
      expect(written.slice(before)).toEqual([]);
      reporter.stepStarted('expose', { frozen: false });
      const after = written.slice(before).join('');
      const lines = [
        'ok freeze 39 ms frozen\n',
        '! slow storage\n',
        'x snapshot: no room\n',
        'ok thaw 0.2 ms frozen\n',
      ];
      expect(lines.map((line) => after.includes(line))).toEqual([true, true, true, true]);
      reporter.jobFinished(successfulReport());
      const end = written.length;
      vi.advanceTimersByTime(5000);
      expect(written).toHaveLength(end);
    } finally {
      vi.useRealTimers();
    }
  });

  it('lines wait for the thaw, and keep their order', () => {
    const { reporter, written } = plain();
    reporter.jobStarted('srv');
    reporter.stepStarted('sync', { frozen: false });
    reporter.stepFinished('sync', 200);
    const before = [...written];
    playWindow(reporter);
    expect(written).toEqual(before);
    reporter.stepStarted('expose', { frozen: false });
    reporter.stepFinished('expose', 12);
    expect(written).toEqual([
      'srv: started\n',
      'srv: sync 200 ms\n',
      'srv: freeze 39 ms (frozen)\n',
      'srv: warning: slow storage\n',
      'srv: snapshot failed: no room\n',
      'srv: thaw 0.2 ms (frozen)\n',
      'srv: expose 12 ms\n',
    ]);
  });

  it('what was held is written also when the job ends there', () => {
    for (const { reporter, written } of [plain(), terminal()]) {
      reporter.jobStarted('srv');
      playWindow(reporter);
      reporter.jobFinished(failedReport());
      expect(written.join('')).toMatch(/slow storage[^]*no room[^]*failed \(exit 21\)/);
    }
  });
});

describe('the terminal', () => {
  it('shows bytes, files and the like beside the step that copies, and goes on with it after a warning', () => {
    vi.useFakeTimers();
    try {
      const { reporter, written } = terminal();
      reporter.stepStarted('copy', { frozen: false });
      reporter.progress({ bytes: 1_500_000, files: 3 });
      vi.advanceTimersByTime(500);
      expect(written.join('')).toContain('copy  1.5 MB · 3 files');
      reporter.warn('a file vanished');
      const before = written.length;
      vi.advanceTimersByTime(500);
      expect(written.slice(before).join('')).toContain('copy');
      reporter.stepFailed('copy', 'no room');
      expect(written.join('')).toContain('x copy: no room\n');
      reporter.jobFinished(failedReport());
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a terminal that does not know its size', () => {
  it('is taken to be 80 columns wide, by which ora divides', () => {
    const { stream, written } = fakeStream(true);
    const output = { log: () => undefined, result: () => undefined, now: () => 0 };
    stream.columns = 0;
    const reporter = new TerminalReporter(output, { stream, style, resultStyle: style });
    expect(stream.columns).toBe(80);
    stream.columns = 0;
    stream.emit('resize');
    expect(stream.columns).toBe(80);
    reporter.stepStarted('copy', { frozen: false });
    reporter.jobFinished(successfulReport());
    expect(written()).toContain('copy');
  });
});

describe('lines', () => {
  it('tell progress every thirty seconds', () => {
    const { reporter, written, at } = plain();
    reporter.jobStarted('srv');
    reporter.stepStarted('copy', { frozen: false });
    for (let second = 0; second <= 65; second += 1) {
      at(second * 1000);
      reporter.progress({ bytes: second * 1e6, files: second });
    }
    expect(written.slice(1)).toEqual([
      'srv: 30 MB · 30 files · 1 MB/s\n',
      'srv: 60 MB · 60 files · 1 MB/s\n',
    ]);
  });

  it('names no job before there is one', () => {
    const { reporter, written } = plain();
    reporter.warn('the other copy is taken');
    expect(written).toEqual(['warning: the other copy is taken\n']);
  });

  it('tell for whom it waits, which is no warning', () => {
    const { reporter, written } = plain();
    reporter.jobStarted('srv');
    reporter.waiting('waiting for process 7 (run), which has the job srv');
    expect(written.at(-1)).toBe('srv: waiting for process 7 (run), which has the job srv\n');
  });

  it('cannot be forged by the name of a file', () => {
    const { reporter, written } = plain();
    reporter.jobStarted('srv');
    reporter.warn('cannot read /srv/\u001B[2Jx');
    expect(written.at(-1)).toBe('srv: warning: cannot read /srv/\\x1b[2Jx\n');
  });
});

describe('quiet', () => {
  it('says nothing of a job that went well', () => {
    const { reporter, written } = quiet();
    reporter.jobStarted('srv');
    playWindow({ ...reporter, warn: () => undefined });
    reporter.progress({ bytes: 1, files: 1 });
    reporter.jobFinished(successfulReport());
    expect(written).toEqual([]);
  });

  it('says all of a job that failed', () => {
    const { reporter, written } = quiet();
    reporter.jobFinished(failedReport());
    expect(written.join('')).toMatch(/failed \(exit 21\)[^]*submount[^]*was lost[^]*Raise the timeout/);
  });

  it('tells a warning that came after the report, once, and not of the next job', () => {
    const { reporter, written } = quiet();
    reporter.jobStarted('srv');
    reporter.warn('still held');
    reporter.warn('in the report');
    reporter.jobFinished(successfulReport({ outcome: 'warnings', exitCode: 3, warnings: ['in the report'] }));
    expect(written.join('').match(/still held|in the report/g)).toEqual(['in the report', 'still held']);
    reporter.jobStarted('home');
    reporter.jobFinished(successfulReport({ job: 'home' }));
    expect(written).toHaveLength(1);
  });
});

describe('chooseReporter', () => {
  const choice = { json: false, quiet: false, isTTY: true, env: { TERM: 'xterm', LANG: 'C' } };

  it('takes silence for --json, whatever else', async () => {
    await expect(chooseReporter({ ...choice, json: true, quiet: true })).resolves.toBe(silentReporter);
  });

  it('takes spinners on a terminal alone', async () => {
    await expect(chooseReporter(choice)).resolves.toBeInstanceOf(TerminalReporter);
    await expect(chooseReporter({ ...choice, isTTY: false })).resolves.toBeInstanceOf(PlainReporter);
    await expect(chooseReporter({ ...choice, env: { TERM: 'dumb' } })).resolves.toBeInstanceOf(PlainReporter);
    await expect(chooseReporter({ ...choice, env: { CI: 'true' } })).resolves.toBeInstanceOf(PlainReporter);
  });

  it('writes what goes on to stderr and the summary to stdout, uncoloured with NO_COLOR', async () => {
    const stdout = fakeStream(true);
    const stderr = fakeStream(true);
    const env = { ...choice.env, NO_COLOR: '1' };
    const reporter = await chooseReporter({ ...choice, env, stdout: stdout.stream, stderr: stderr.stream });
    reporter.jobStarted('srv');
    reporter.warn('slow storage');
    reporter.jobFinished(successfulReport());
    expect(stderr.written()).toContain('! slow storage\n');
    expect(stdout.written()).toContain('ok srv: backed up\n');
    // Colours end in m; what else ora writes moves the cursor.
    const escapes = (stdout.written() + stderr.written()).split('\u001B[').slice(1);
    expect(escapes.filter((rest) => /^\d*m/.test(rest))).toEqual([]);
  });

  it('tells each step once where all of it goes to a terminal', async () => {
    for (const isTTY of [true, false]) {
      const stdout = fakeStream(isTTY);
      const stderr = fakeStream(true);
      const reporter = await chooseReporter({ ...choice, stdout: stdout.stream, stderr: stderr.stream });
      reporter.jobFinished(successfulReport());
      expect(stdout.written().includes('timeline')).toBe(!isTTY);
    }
  });

  it('colours the summary for a terminal', async () => {
    const stdout = fakeStream(true);
    const stderr = fakeStream(false);
    const reporter = await chooseReporter({
      ...choice,
      isTTY: false,
      stdout: stdout.stream,
      stderr: stderr.stream,
    });
    reporter.jobFinished(successfulReport());
    expect(stdout.written()).toContain('\u001B[32m');
  });

  it('keeps quiet off stdout', async () => {
    const stdout = fakeStream(false);
    const stderr = fakeStream(false);
    const streams = { stdout: stdout.stream, stderr: stderr.stream };
    const reporter = await chooseReporter({ ...choice, quiet: true, ...streams });
    reporter.jobFinished(failedReport());
    expect(stdout.written()).toBe('');
    expect(stderr.written()).toContain('failed (exit 21)');
  });
});
