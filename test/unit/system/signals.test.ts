import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
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
