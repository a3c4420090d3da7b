import { expect, it } from 'vitest';
import { runCommand } from '../../../src/system/run-command.js';

it('reads no more of a child until its lines were taken', async () => {
  let lines = 0;
  let isTaking = false;
  let waits = 0;
  const early: number[] = [];
  // It outlives its output: what is in the pipe at its end comes at once.
  const result = await runCommand(['sh', '-c', 'seq 1 100000; sleep 1'], {
    onStdoutLine: () => {
      lines += 1;
      if (isTaking) early.push(lines);
    },
    untilTaken: () => {
      waits += 1;
      isTaking = true;
      return new Promise((resolve) => {
        setImmediate(() => {
          isTaking = false;
          resolve();
        });
      });
    },
  });
  expect([result.exitCode, lines, early]).toEqual([0, 100_000, []]);
  expect(waits).toBeGreaterThan(1);
});

it('keeps the end of what a child wrote, less of it where its lines are taken', async () => {
  const argv = ['seq', '1', '400000'] as const;
  const whole = await runCommand(argv);
  expect(whole.stdout).toHaveLength(1024 * 1024);
  expect(whole.stdout.endsWith('399999\n400000\n')).toBe(true);
  const taken = await runCommand(argv, { onStdoutLine: () => undefined });
  expect(taken.stdout).toHaveLength(16 * 1024);
  expect(taken.stdout.endsWith('399999\n400000\n')).toBe(true);
});

it('does not call late who ended in time, when it was itself held up beyond that', async () => {
  const running = runCommand(['true'], { timeoutMs: 200 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
  expect(await running).toMatchObject({ exitCode: 0, timedOut: false });
});

it('ends who is late, and says so', async () => {
  const result = await runCommand(['sleep', '600'], { timeoutMs: 200 });
  expect(result).toMatchObject({ exitCode: undefined, signal: 'SIGTERM', timedOut: true, aborted: false });
});
