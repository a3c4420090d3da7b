import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { expect, it, vi } from 'vitest';
import { kibPerSecond, Pace, PacedStream } from '../../../src/copy/pace.js';
import { packInto } from '../../../src/copy/packed-file.js';
import { HashingStream } from '../../../src/copy/stream-pipe.js';
import { runCommand, type CommandResult } from '../../../src/system/run-command.js';

/** A clock that stands still but when somebody waits, and then comes late. */
function lateClock(lateMs: number) {
  let now = 1000;
  return {
    pass: (ms: number) => void (now += ms),
    now: () => now,
    sleep: async (ms: number) => {
      now += ms + lateMs;
      await Promise.resolve();
    },
  };
}

it.each([
  { rate: 1024, lateMs: 1 },
  { rate: 5 * 2 ** 20, lateMs: 3 },
  { rate: 2 ** 30, lateMs: 1 },
])('keeps $rate bytes a second, also where timers come late', async ({ rate, lateMs }) => {
  const clock = lateClock(lateMs);
  const pace = new Pace(rate, clock);
  const begun = clock.now();
  const pieces = 400;
  for (let piece = 0; piece < pieces; piece += 1) await pace.take(pace.pieceBytes);
  const seconds = (clock.now() - begun) / 1000;
  const carried = (pieces - 1) * pace.pieceBytes;
  expect(carried / seconds).toBeLessThanOrEqual(rate * 1.001);
  expect(carried / seconds).toBeGreaterThan(rate * 0.9);
});

it('is owed no more than an instant by what came late', async () => {
  const clock = lateClock(0);
  const pace = new Pace(1000, clock);
  clock.pass(60_000);
  const begun = clock.now();
  await pace.take(1000);
  await pace.take(1000);
  await pace.take(1000);
  expect(clock.now() - begun).toBeGreaterThanOrEqual(1900);
});

it('is a rate that programs count in KiB, and never what they take for none', () => {
  expect([1024, 1025, 2047, 5 * 2 ** 20, 100].map(kibPerSecond)).toEqual([1, 1, 1, 5120, 1]);
});

it('passes all on as it is, by whatever rate, and sees it', async () => {
  const bytes = Buffer.alloc(300_000, 'abcdefg');
  for (const rate of [undefined, 4 * 2 ** 20]) {
    const through = new HashingStream(undefined, rate);
    const got: Buffer[] = [];
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        got.push(chunk);
        done();
      },
    });
    await pipeline(Readable.from([bytes]), through, sink);
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
    expect(through.bytes).toBe(bytes.length);
    expect(through.digest()).toBe(createHash('sha256').update(bytes).digest('hex'));
  }
});

it('ends at once when it is destroyed, whatever it holds', async () => {
  const paced = new PacedStream(1024);
  paced.resume();
  paced.write(Buffer.alloc(60_000));
  const closed = vi.fn<() => void>();
  paced.once('close', closed);
  paced.destroy();
  await vi.waitFor(() => expect(closed).toHaveBeenCalled());
});

it('packs into a file at a rate as it does without, and tells what the disk refused', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'packed-'));
  try {
    const { signal } = new AbortController();
    const pack = (file: string, limitBytesPerSecond?: number): Promise<CommandResult> =>
      packInto(
        file,
        { stdinFrom: Readable.from([Buffer.alloc(500_000, 'x')]), signal, limitBytesPerSecond },
        runCommand,
      );
    const [plain, limited] = ['plain', 'limited'].map((name) => path.join(directory, name));
    expect((await pack(plain ?? '')).exitCode).toBe(0);
    expect((await pack(limited ?? '', 2 ** 20)).exitCode).toBe(0);
    const unpacked = await Promise.all(
      [plain, limited].map((file) => runCommand(['zstd', '-qdc', file ?? ''])),
    );
    expect(unpacked.map(({ stdout }) => stdout.length)).toEqual([500_000, 500_000]);
    const full = await pack('/dev/full', 2 ** 20);
    expect(full.exitCode).not.toBe(0);
    expect(full.stderr).toMatch(/no space left on device/i);
    // More than one piece: zstd writes on when the disk has refused.
    expect((await readFile(plain ?? '')).length).toBeGreaterThan(0);
  } finally {
    await rm(directory, { recursive: true });
  }
});

it('is ended by a signal before all that it holds has gone', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'packed-'));
  const controller = new AbortController();
  try {
    const random = createHash('shake256', { outputLength: 400_000 }).update('x').digest();
    const packing = packInto(
      path.join(directory, 'file'),
      { stdinFrom: Readable.from([random]), signal: controller.signal, limitBytesPerSecond: 1024 },
      runCommand,
    );
    controller.abort();
    expect((await packing).aborted).toBe(true);
  } finally {
    await rm(directory, { recursive: true });
  }
});
