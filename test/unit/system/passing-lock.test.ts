import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, unlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tryLock } from '../../../src/system/native.js';
import { underPassingLock } from '../../../src/system/passing-lock.js';

const PATIENCE_MS = 20_000;

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'passing-lock-'));
  file = path.join(directory, 'V_data');
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** Locks the file that is there, or makes one, as another program would. */
function lock(): number {
  const fd = openSync(file, 'a+');
  if (!tryLock(fd)) throw new Error(`${file} is locked`);
  return fd;
}

it('keeps others out meanwhile, and nobody afterwards', async () => {
  expect(
    await underPassingLock(file, PATIENCE_MS, async () => {
      expect(() => lock()).toThrow('is locked');
      return 'done';
    }),
  ).toBe('done');
  closeSync(lock());
});

it('does nothing where it stays busy', async () => {
  const held = lock();
  let ran = false;
  expect(
    await underPassingLock(file, 100, async () => {
      ran = true;
    }),
  ).toBeUndefined();
  closeSync(held);
  expect(ran).toBe(false);
});

it('is given back when the work fails', async () => {
  await expect(underPassingLock(file, PATIENCE_MS, () => Promise.reject(new Error('no')))).rejects.toThrow(
    'no',
  );
  closeSync(lock());
});

it('does not take the lock of a file that its holder removed for that of the next', async () => {
  let next: number | undefined;
  let isFirst = true;
  const ran = await underPassingLock(
    file,
    PATIENCE_MS,
    async () => ({ next }),
    (fd) => {
      // After our open its holder has ended, and removed it; the next one made it anew.
      if (isFirst) {
        isFirst = false;
        unlinkSync(file);
        const other = lock();
        next = other;
        setTimeout(() => {
          next = undefined;
          closeSync(other);
        }, 200);
      }
      return tryLock(fd);
    },
  );
  expect(ran).toEqual({ next: undefined });
});

it('is not inherited by a program that the work starts', async () => {
  const child = await underPassingLock(file, PATIENCE_MS, async () => {
    const started = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(started, 'spawn');
    return started;
  });
  try {
    expect(existsSync(file)).toBe(true);
    closeSync(lock());
  } finally {
    child?.kill('SIGKILL');
  }
});
