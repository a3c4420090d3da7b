import { expect, it } from 'vitest';
import { unlessAborted } from '../../../src/system/unless-aborted.js';

const never = new Promise<string>(() => undefined);

it('is the work where nobody aborts it', async () => {
  const { signal } = new AbortController();
  expect(await unlessAborted(Promise.resolve('done'), signal)).toBe('done');
  await expect(unlessAborted(Promise.reject(new Error('EIO')), signal)).rejects.toThrow('EIO');
});

it('waits no longer for work that does not end', async () => {
  const stop = new AbortController();
  const waiting = unlessAborted(never, stop.signal);
  stop.abort(new Error('interrupted'));
  await expect(waiting).rejects.toThrow('interrupted');
  await expect(unlessAborted(never, stop.signal)).rejects.toThrow('interrupted');
});
