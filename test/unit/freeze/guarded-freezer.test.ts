import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { FreezeSet } from '../../../src/freeze/freeze-set.js';
import { GuardedFreezer } from '../../../src/freeze/guarded-freezer.js';
import { FrameType, lossNumber, SLOTS_AT, type Reply } from '../../../src/freeze/protocol.js';
import type { Watchdog } from '../../../src/freeze/watchdog-process.js';
import { boottimeMs, createPage } from '../../../src/system/native.js';
import { eventually } from '../../support/freeze-harness.js';

const LONG = { timeoutMs: 60_000, maxHoldMs: 90_000 };
const TIMERS = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] as const;
const OUTCOME = { filesystems: [], devices: [] };
const names = Object.fromEntries(Object.entries(FrameType).map(([name, type]) => [type, name]));

const freezers: GuardedFreezer[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const freezer of freezers.splice(0)) await freezer.close().catch(() => undefined);
});

/** A set without a filesystem and guards that note what they are asked for: `changes` is what they are like. */
function aFreezer(
  changes: {
    set?: Partial<Record<keyof FreezeSet, unknown>>;
    answer?: (name: string) => Promise<unknown>;
  } = {},
) {
  const done: string[] = [];
  const connection = {
    closed: false,
    onEvent: undefined as ((event: Pick<Reply, 'warnings'>) => void) | undefined,
    onClose: undefined as (() => void) | undefined,
    request: async ({ type }: { type: number }): Promise<unknown> => {
      const name = names[type] ?? '';
      done.push(name);
      return await (changes.answer?.(name) ?? Promise.resolve({ error: 0, slots: [], nowMs: 0 }));
    },
  };
  const set = {
    page: undefined,
    slots: [],
    watch: undefined,
    isInFlight: false,
    hasEnded: true,
    loss: undefined,
    deadlineMs: undefined,
    thawByOurselves: async (loss: unknown) => void done.push(`thaw by ourselves ${String(loss)}`),
    outcomes: async () => OUTCOME,
    undoProbes: () => done.push('undo probes'),
    recordEnded: () => done.push('record'),
    close: () => done.push('close'),
    ...changes.set,
  };
  const watchdog = {
    connection,
    pids: [1, 2],
    warnings: ['known'],
    quit: async () => void done.push('quit'),
    end: async () => void done.push('end'),
    release: () => done.push('release'),
  };
  const freezer = new GuardedFreezer(set as unknown as FreezeSet, LONG, watchdog as unknown as Watchdog);
  freezers.push(freezer);
  return { freezer, set, connection, done };
}

describe('the freezer, whose guards and filesystems are as they are told to be', () => {
  it('has the devices watched from the beginning, and thaws where that is refused', async () => {
    const open: string[] = [];
    const watched = aFreezer({ set: { watch: { open: () => open.push('open') } } });
    await watched.freezer.freeze();
    expect(open).toEqual(['open']);
    const cause = new Error('ECANCELED');
    const refused = aFreezer({
      set: {
        watch: {
          open: () => {
            throw cause;
          },
        },
      },
    });
    await expect(refused.freezer.freeze()).rejects.toMatchObject({ code: 'freezeLost', cause });
    expect(refused.done).toEqual(['thaw']);
  });

  it('resets until it is lost, and no more then', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const { freezer, set, done } = aFreezer({ set: { deadlineMs: boottimeMs() + 60_000 } });
    await freezer.freeze();
    await vi.advanceTimersByTimeAsync(LONG.timeoutMs);
    expect(done).toEqual(['reset', 'reset']);
    expect(freezer.lost.aborted).toBe(false);
    Object.assign(set, { loss: 'third-party' });
    await vi.advanceTimersByTimeAsync(LONG.timeoutMs / 2);
    expect(freezer.lost.reason).toBe('third-party');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('thaws by itself where the deadline has passed and no guard has kept it, then or at once', async () => {
    const { freezer, done } = aFreezer({ set: { deadlineMs: boottimeMs() + 20 } });
    await freezer.freeze();
    await eventually('the loss', () => freezer.lost.aborted);
    expect(freezer.lost.reason).toBe('timeout');
    expect(done).toEqual(['thaw by ourselves timeout']);
    expect(await freezer.thaw()).toBe(OUTCOME);
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const late = aFreezer({ set: { deadlineMs: boottimeMs() - 1000 } });
    await expect(late.freezer.freeze()).rejects.toMatchObject({ code: 'freezeLost' });
    expect(late.freezer.lost.reason).toBe('timeout');
    await late.freezer.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('looks again at a deadline that was put off meanwhile', async () => {
    const { freezer, set, done } = aFreezer({ set: { deadlineMs: boottimeMs() } });
    await freezer.freeze();
    Object.assign(set, { deadlineMs: boottimeMs() + 60_000 });
    await sleep(100);
    expect(freezer.lost.aborted).toBe(false);
    expect(done).toEqual([]);
  });

  it('thaws by itself where its guards are gone: what is thawed by then is not lost', async () => {
    const { freezer, connection, done } = aFreezer();
    await freezer.freeze();
    connection.onClose?.();
    expect(freezer.lost.reason).toBe('guard-died');
    expect(done).toEqual(['thaw by ourselves guard-died']);
    const thawed = aFreezer();
    await thawed.freezer.freeze();
    await thawed.freezer.thaw();
    thawed.connection.onClose?.();
    expect(thawed.freezer.lost.aborted).toBe(false);
    expect(thawed.done).toEqual(['thaw']);
    await thawed.freezer.close();
    thawed.connection.onClose?.();
    expect(thawed.freezer.lost.aborted).toBe(false);
  });

  it('resets nothing and keeps no deadline any more, once it is thawed, or its guards are gone', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const held = { deadlineMs: boottimeMs() + 60_000 };
    const thawed = aFreezer({ set: held });
    await thawed.freezer.freeze();
    await thawed.freezer.thaw();
    expect(vi.getTimerCount()).toBe(0);
    const alone = aFreezer({ set: held });
    await alone.freezer.freeze();
    alone.connection.onClose?.();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('tells of the loss that the page knows, where its guards are gone', async () => {
    const { freezer, connection } = aFreezer({ set: { loss: 'max-hold' } });
    connection.onClose?.();
    expect(freezer.lost.reason).toBe('max-hold');
  });

  it('rejects a thaw, and nothing before it, where that of its own failed', async () => {
    const failure = new Error('FITHAW keeps failing');
    const { freezer, connection } = aFreezer({ set: { thawByOurselves: () => Promise.reject(failure) } });
    connection.onClose?.();
    await sleep(1);
    await expect(freezer.thaw()).rejects.toBe(failure);
  });

  it('gives up a freeze that was thawed before it was complete, after that thaw', async () => {
    let end: (outcome: unknown) => void = () => undefined;
    const { freezer, done } = aFreezer({
      set: { hasEnded: false, outcomes: () => new Promise((resolve) => (end = resolve)) },
    });
    const thawing = freezer.thaw();
    const freezing = freezer.freeze();
    let isOver = false;
    freezing.catch(() => (isOver = true));
    await sleep(20);
    expect(isOver).toBe(false);
    expect(done).toEqual(['thaw', 'thaw by ourselves undefined']);
    end(OUTCOME);
    await thawing;
    await expect(freezing).rejects.toMatchObject({ code: 'freezeLost' });
    // That thaw may have lost patience before.
    expect(done).toEqual(['thaw', 'thaw by ourselves undefined', 'thaw by ourselves undefined']);
  });

  it('thaws, and says so, what was lost before all were frozen', async () => {
    const { freezer, done } = aFreezer({ set: { loss: 'timeout' } });
    await expect(freezer.freeze()).rejects.toMatchObject({ code: 'freezeLost' });
    expect(freezer.lost.reason).toBe('timeout');
    expect(done).toEqual(['thaw']);
  });

  it('looks at no deadline any more once all are frozen and none is held', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const { freezer } = aFreezer();
    await freezer.freeze();
    await vi.advanceTimersByTimeAsync(1000);
    // The heartbeat is left.
    expect(vi.getTimerCount()).toBe(1);
  });

  it('waits for a watchdog whose thaw waits for a FIFREEZE in flight, and does not take it for dead', async () => {
    let answer: (reply: unknown) => void = () => undefined;
    const { freezer, set, done } = aFreezer({
      set: { isInFlight: true, hasEnded: false },
      answer: () => new Promise((resolve) => (answer = resolve)),
    });
    const thawing = freezer.thaw();
    await sleep(800);
    expect(done).toEqual(['thaw']);
    Object.assign(set, { isInFlight: false });
    await sleep(150);
    Object.assign(set, { hasEnded: true });
    answer({});
    expect(await thawing).toBe(OUTCOME);
    expect(done).toEqual(['thaw']);
  });

  it('learns at the thaw, if not before, that it was lost', async () => {
    const { freezer } = aFreezer({ set: { loss: 'third-party' } });
    expect(await freezer.thaw()).toBe(OUTCOME);
    expect(freezer.lost.reason).toBe('third-party');
  });

  it('thaws by itself where the watchdog does not answer', async () => {
    const { freezer, done } = aFreezer({
      set: { hasEnded: false },
      answer: () => new Promise(() => undefined),
    });
    await freezer.thaw();
    expect(done).toEqual(['thaw', 'thaw by ourselves undefined']);
  });

  it('thaws what a probe left frozen, and after one that failed', async () => {
    const { page, fd } = createPage(1, 1000, 1000);
    const recordFd = openSync('/dev/null', 'w');
    const slots = [{ target: { mountpoint: '/srv', fstype: 'ext4' }, recordFd }];
    try {
      const left = aFreezer({ set: { page, slots, probe: async () => false } });
      await left.freezer.probe();
      expect(left.done).toEqual(['thaw']);
      const cause = Object.assign(new Error('busy'), { code: 'EBUSY' });
      const refused = aFreezer({ set: { page, slots, probe: () => Promise.reject(cause) } });
      await expect(refused.freezer.probe()).rejects.toMatchObject({ code: 'notFrozen', cause });
      expect(refused.done).toEqual(['thaw']);
      const failure = new Error('FITHAW keeps failing');
      const stuck = aFreezer({
        set: {
          page,
          slots,
          probe: async () => false,
          hasEnded: false,
          thawByOurselves: () => Promise.reject(failure),
        },
      });
      await expect(stuck.freezer.probe()).rejects.toBe(failure);
    } finally {
      closeSync(recordFd);
      closeSync(fd);
    }
  });

  it('proves nothing by a probe that a guard ended, its time being over: nothing is put on record as thawed', async () => {
    const { page, fd } = createPage(1, 1000, 1000);
    const directory = mkdtempSync(path.join(os.tmpdir(), 'probe-'));
    const record = path.join(directory, 'record');
    const recordFd = openSync(record, 'w');
    const slots = [{ target: { mountpoint: '/srv', fstype: 'ext4' }, recordFd }];
    const { freezer } = aFreezer({ set: { page, slots, probe: async () => true } });
    try {
      writeSync(fd, Uint32Array.of(lossNumber('timeout')), 0, 4, SLOTS_AT + 4);
      await expect(freezer.probe()).rejects.toMatchObject({ code: 'freezeLost' });
      expect(readFileSync(record, 'utf8')).toBe('');
      writeSync(fd, Uint32Array.of(0), 0, 4, SLOTS_AT + 4);
      await freezer.probe();
      expect(readFileSync(record, 'utf8')).toMatch(/^thawed /);
    } finally {
      closeSync(recordFd);
      closeSync(fd);
      rmSync(directory, { recursive: true });
    }
  });

  it('ends its guards, then undoes what a probe of theirs left, and puts it on record', async () => {
    const { freezer, done } = aFreezer();
    await freezer.close();
    await freezer.close();
    expect(done).toEqual(['thaw', 'quit', 'end', 'undo probes', 'record', 'close']);
  });

  it('leaves the guards to go on where a program may still suspend a device', async () => {
    const { freezer, done } = aFreezer({ set: { watch: { over: false } } });
    await freezer.close();
    expect(done).toEqual(['thaw', 'quit', 'release', 'record', 'close']);
  });

  it('is done with it once it is handed over, timers and all', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const { freezer, done } = aFreezer({
      set: { deadlineMs: boottimeMs() + 60_000 },
      answer: async () => ({ error: 0, nowMs: 1, slots: [{ deadlineMs: 31 }, { deadlineMs: 21 }] }),
    });
    await freezer.freeze();
    expect(await freezer.detach()).toEqual({ expiresInMs: 20 });
    expect(vi.getTimerCount()).toBe(0);
    await freezer.close();
    expect(done).toEqual(['detach', 'release', 'close']);
  });

  it('thaws what the watchdog does not take over, and tells a loss from that', async () => {
    const refused = aFreezer({ answer: async (name) => ({ error: name === 'detach' ? 22 : 0, slots: [] }) });
    await expect(refused.freezer.detach()).rejects.toMatchObject({
      code: 'freezeLost',
      message: 'the watchdog did not take the freeze over, so it was thawed',
      cause: { message: 'errno 22' },
    });
    expect(refused.done).toEqual(['detach', 'thaw', 'quit', 'end', 'undo probes', 'record', 'close']);
    const lost = aFreezer({ answer: async () => ({ error: 22, slots: [] }), set: { loss: 'timeout' } });
    await expect(lost.freezer.detach()).rejects.toMatchObject({
      message: 'the freeze was given up before it was complete',
    });
    expect(lost.done).toContain('close');
  });

  it('tells each warning of its guards once, and learns from what they say of a loss', () => {
    const { freezer, set, connection } = aFreezer();
    connection.onEvent?.({ warnings: 8 });
    connection.onEvent?.({ warnings: 8 });
    expect(freezer.warnings).toEqual(['known', 'the second watchdog is gone']);
    expect(freezer.lost.aborted).toBe(false);
    Object.assign(set, { loss: 'signal' });
    connection.onEvent?.({ warnings: 0 });
    expect(freezer.lost.reason).toBe('signal');
  });
});
