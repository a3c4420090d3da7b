import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { FullWatch } from '../../../src/copy/restic/full-watch.js';

const ROOM = { totalBytes: 2 ** 40, blockSizeBytes: 4096 };
let watch: FullWatch;
afterEach(() => watch.end());

function watched(readSpace: () => Promise<{ freeBytes: number } | undefined>, checkIntervalMs = 5) {
  const stop = vi.fn<() => void>();
  const read = async () => {
    const space = await readSpace();
    return space === undefined ? undefined : { ...ROOM, ...space };
  };
  watch = new FullWatch({ readSpace: read, stop, checkIntervalMs });
  return stop;
}

it('ends a program that stands still on a full filesystem, once', async () => {
  const stop = watched(async () => ({ freeBytes: 2 ** 20 }));
  watch.did('10 of 10');
  await vi.waitFor(() => expect(stop).toHaveBeenCalled());
  await sleep(30);
  expect(stop).toHaveBeenCalledTimes(1);
  expect(watch.isFull).toBe(true);
});

it('leaves one alone for as long as what it holds takes to go by its limit', async () => {
  const stop = vi.fn<() => void>();
  const readSpace = () => Promise.resolve({ ...ROOM, freeBytes: 0 });
  watch = new FullWatch({ readSpace, stop, checkIntervalMs: 5, limitBytesPerSecond: 2 ** 20 });
  watch.did('10 of 10');
  await sleep(100);
  expect(stop).not.toHaveBeenCalled();
});

it('leaves one alone that moves, on a full filesystem too', async () => {
  const stop = watched(async () => ({ freeBytes: 0 }), 200);
  for (let done = 0; done < 500; done += 1) {
    watch.did(`${done} of 500`);
    await sleep(1);
  }
  watch.end();
  expect(stop).not.toHaveBeenCalled();
  expect(watch.isFull).toBe(false);
});

it.each([
  ['has room', async () => ({ freeBytes: 2 ** 30 })],
  ['is not there', async () => undefined],
  ['does not answer', () => Promise.reject(new Error('it hangs'))],
])('leaves one alone that stands still where the filesystem %s', async (_name, readSpace) => {
  const asked = vi.fn<() => Promise<{ freeBytes: number } | undefined>>(readSpace);
  const stop = watched(asked);
  await vi.waitFor(() => expect(asked.mock.calls.length).toBeGreaterThan(2));
  expect(stop).not.toHaveBeenCalled();
});

it('says the same again for no progress', async () => {
  const stop = watched(async () => ({ freeBytes: 0 }));
  const repeating = setInterval(() => watch.did('all of it'), 1);
  try {
    await vi.waitFor(() => expect(stop).toHaveBeenCalled());
  } finally {
    clearInterval(repeating);
  }
});
