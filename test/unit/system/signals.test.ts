import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../src/system/run-command.js';
import { isInterruption, withSignals } from '../../../src/system/signals.js';

describe('withSignals', () => {
  it.each([
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGQUIT', 130],
    ['SIGPIPE', 129],
  ] as const)('%s aborts with the error that exits %i', async (name, exitCode) => {
    const source = new EventEmitter();
    const reason = await withSignals(source, async (signal) => {
      source.emit(name, name);
      return signal.reason as unknown;
    });
    expect(reason).toMatchObject({ exitCode });
    expect(isInterruption(reason)).toBe(true);
  });

  it('passes over the PIPE of a child that ended while it was written to', async () => {
    const aborted = await withSignals(process, async (signal) => {
      const input = Readable.from(
        (function* () {
          for (let count = 0; count < 2000; count += 1) yield Buffer.alloc(65_536);
        })(),
      );
      await runCommand(['true'], { stdinFrom: input });
      process.kill(process.pid, 'SIGPIPE');
      await sleep(200);
      return signal.aborted;
    });
    expect(aborted).toBe(false);
  });

  it('goes on until the work has ended, whatever comes after the first', async () => {
    const source = new EventEmitter();
    const done = await withSignals(source, async (signal) => {
      source.emit('SIGINT', 'SIGINT');
      source.emit('SIGINT', 'SIGINT');
      source.emit('SIGTERM', 'SIGTERM');
      await Promise.resolve();
      return (signal.reason as { exitCode: number }).exitCode;
    });
    expect(done).toBe(130);
  });

  it('lets go of the signals afterwards, also when the work fails', async () => {
    const source = new EventEmitter();
    await expect(withSignals(source, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(source.eventNames()).toEqual([]);
  });

  it('knows interruptions from other errors', () => {
    expect(isInterruption(new Error('interrupted'))).toBe(false);
  });
});
