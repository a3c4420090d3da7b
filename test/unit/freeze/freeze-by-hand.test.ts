import { EventEmitter, getEventListeners } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as arming from '../../../src/freeze/arm-freezer.js';
import { freezeDetached, freezeWhile } from '../../../src/freeze/freeze-by-hand.js';
import type { FreezeTarget } from '../../../src/freeze/freezer.js';
import type { GuardedFreezer } from '../../../src/freeze/guarded-freezer.js';
import * as release from '../../../src/freeze/release-by-hand.js';
import * as native from '../../../src/system/native.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here. Nothing is frozen.
vi.hoisted(() => vi.resetModules());
vi.mock('../../../src/freeze/arm-freezer.js', { spy: true });
vi.mock('../../../src/freeze/release-by-hand.js', { spy: true });
vi.mock('../../../src/system/native.js', { spy: true });

const OPTIONS = { timeoutMs: 10_000, maxHoldMs: 20_000 };
const REASON = new Error('interrupted');

let directory: string;
let targets: FreezeTarget[];
let done: string[];
let freezer: { [Name in 'freeze' | 'detach' | 'thaw' | 'close']: () => Promise<unknown> } & {
  watchdogPids: number[];
  warnings: string[];
};

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'by-hand-'));
  targets = [{ mountpoint: directory, majorMinor: '0:1', device: '/dev/vdz', fstype: 'ext4' }];
  done = [];
  const note = (name: string, result?: unknown) => async (): Promise<unknown> => {
    done.push(name);
    return result;
  };
  freezer = {
    freeze: note('freeze'),
    detach: note('detach', { expiresInMs: 9000 }),
    thaw: note('thaw', { filesystems: [], devices: [] }),
    close: note('close'),
    watchdogPids: [11, 12],
    warnings: [],
  };
  vi.mocked(native.syncfs).mockImplementation(async () => void done.push('sync'));
  vi.mocked(arming.armFreezer).mockImplementation(async () => {
    done.push('arm');
    return freezer as unknown as GuardedFreezer;
  });
  vi.mocked(release.thawMountpoints).mockImplementation(async (mountpoints) => {
    done.push('thaw by hand');
    return { thawed: [...mountpoints], failures: [] };
  });
});
afterEach(() => {
  vi.resetAllMocks();
  rmSync(directory, { recursive: true });
});

describe('a freeze that is held for a while', () => {
  const hold = async (signal: AbortSignal): Promise<unknown> =>
    await freezeWhile(targets, OPTIONS, async () => void done.push('work'), signal);

  it('is made after what is dirty was written, and is thawed at the end; nothing stays', async () => {
    const { signal } = new AbortController();
    expect(await hold(signal)).toMatchObject({ outcomes: [] });
    expect(done).toEqual(['sync', 'arm', 'freeze', 'work', 'thaw', 'close']);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(timesOpen(directory)).toBe(0);
  });

  it('is not begun where a signal comes while what is dirty is written', async () => {
    const stop = new AbortController();
    let end: () => void = () => undefined;
    vi.mocked(native.syncfs).mockReturnValue(new Promise((resolve) => (end = resolve)));
    const holding = hold(stop.signal);
    await vi.waitFor(() => expect(native.syncfs).toHaveBeenCalled());
    stop.abort(REASON);
    await expect(holding).rejects.toBe(REASON);
    expect(done).toEqual([]);
    // Until that ends, it is needed.
    expect(timesOpen(directory)).toBe(1);
    end();
    await expect.poll(() => timesOpen(directory)).toBe(0);
  });

  it('is not made where a signal comes while its guards start', async () => {
    const stop = new AbortController();
    vi.mocked(arming.armFreezer).mockImplementation(async () => {
      stop.abort(REASON);
      return freezer as unknown as GuardedFreezer;
    });
    await expect(hold(stop.signal)).rejects.toBe(REASON);
    expect(done).toEqual(['sync', 'close']);
  });

  it('is given up at once where a signal comes while it is made', async () => {
    const stop = new AbortController();
    freezer.freeze = async () => {
      stop.abort(REASON);
      done.push('frozen in part');
      throw new Error('the freeze was given up');
    };
    await expect(hold(stop.signal)).rejects.toBe(REASON);
    expect(done).toEqual(['sync', 'arm', 'thaw', 'frozen in part', 'close']);
  });

  it('that fails leaves nothing, and tells why', async () => {
    const failure = new Error('EBUSY');
    freezer.freeze = () => Promise.reject(failure);
    const { signal } = new AbortController();
    await expect(hold(signal)).rejects.toBe(failure);
    expect(done).toEqual(['sync', 'arm', 'close']);
  });
});

describe('a freeze that is left to its guards', () => {
  let signals: EventEmitter;
  beforeEach(() => {
    signals = new EventEmitter();
  });

  const detach = async (tell: () => boolean): Promise<void> =>
    await freezeDetached(targets, OPTIONS, { signals, tell: async () => tell() });

  it('is theirs once that is told', async () => {
    await detach(() => true);
    expect(done).toEqual(['sync', 'arm', 'freeze', 'detach']);
    // Whoever listens is not ended by it.
    expect(signals.emit('SIGTERM', 'SIGTERM')).toBe(true);
  });

  it('is thawed again where nobody could be told', async () => {
    await expect(detach(() => false)).rejects.toMatchObject({
      code: 'failed',
      message: `nobody could be told of the freeze, so what was frozen is thawed again: ${directory}`,
    });
    expect(done.at(-1)).toBe('thaw by hand');
  });

  it('is thawed again where a signal comes before it is told, once', async () => {
    await expect(detach(() => signals.emit('SIGTERM', 'SIGTERM'))).rejects.toMatchObject({
      code: 'terminated',
    });
    expect(done.filter((name) => name === 'thaw by hand')).toHaveLength(1);
  });

  it('that cannot be thawed again is told as that', async () => {
    const failure = new Error('FITHAW keeps failing');
    vi.mocked(release.thawMountpoints).mockResolvedValue({ thawed: [], failures: [failure] });
    await expect(detach(() => false)).rejects.toBe(failure);
  });
});
