import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { unlessAborted } from '../../../src/system/unless-aborted.js';

const never = new Promise<string>(() => undefined);

it('is the work where nobody aborts it', async () => {
  const { signal } = new AbortController();
  expect(await unlessAborted(Promise.resolve('done'), signal)).toBe('done');
  await expect(unlessAborted(Promise.reject(new Error('EIO')), signal)).rejects.toThrow('EIO');
  // A signal outlives many of them.
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

it('waits no longer for work that does not end', async () => {
  const stop = new AbortController();
  const waiting = unlessAborted(never, stop.signal);
  stop.abort(new Error('interrupted'));
  await expect(waiting).rejects.toThrow('interrupted');
  await expect(unlessAborted(never, stop.signal)).rejects.toThrow('interrupted');
});

it('is nobody’s matter any more where the work fails later', async () => {
  const stop = new AbortController();
  let fail: (error: Error) => void = () => undefined;
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', note);
  try {
    const waiting = unlessAborted(new Promise((_, reject) => (fail = reject)), stop.signal);
    stop.abort(new Error('interrupted'));
    await expect(waiting).rejects.toThrow('interrupted');
    fail(new Error('EIO'));
    await sleep(20);
    expect(unhandled).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
  }
});
