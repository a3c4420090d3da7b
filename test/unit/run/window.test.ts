import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Freezer, FreezeTarget, LossReason, ThawOutcome } from '../../../src/freeze/freezer.js';
import { silentReporter } from '../../../src/report/silent-reporter.js';
import { ReleaseStack } from '../../../src/run/release-stack.js';
import { Timeline } from '../../../src/run/timeline.js';
import { takeWindow, type WindowRequest, type WindowResult } from '../../../src/run/window.js';
import type { CreateOptions, SnapshotProvider } from '../../../src/snapshots/provider.js';

const SRV: FreezeTarget = { mountpoint: '/srv', majorMinor: '8:1', device: '/dev/sda1', fstype: 'ext4' };
const VOLUME = { name: 'vg-srv', majorMinor: '252:1', mountpoints: ['/srv'] };

let done: string[];
/** The steps of the window that somebody was told of. */
let told: string[];
let failed: string[];
let timeline: Timeline;
let stack: ReleaseStack;
let stopping: AbortController;
let lost: AbortController;
let outcome: ThawOutcome;
/** What the calls do, where they do more than succeed. */
let acts: Partial<Record<'freeze' | 'create' | 'thaw' | 'close' | 'probe', () => Promise<unknown>>>;

beforeEach(() => {
  done = [];
  told = [];
  failed = [];
  let clock = 0;
  const stepStarted = (step: string, { frozen: isFrozen }: { frozen: boolean }): void => {
    if (isFrozen) told.push(step);
  };
  const stepFailed = (step: string): void => void failed.push(step);
  timeline = new Timeline({ ...silentReporter, stepStarted, stepFailed }, () => (clock += 1));
  stack = new ReleaseStack();
  stopping = new AbortController();
  lost = new AbortController();
  acts = {};
  outcome = { filesystems: [frozen()], devices: [] };
});

function frozen(loss?: LossReason): ThawOutcome['filesystems'][number] {
  return { target: SRV, lost: loss, frozenMs: 1, freezeCallMs: 1, thawMs: 1 };
}

async function call(name: keyof typeof acts): Promise<void> {
  done.push(name);
  await acts[name]?.();
}

function aFreezer(): Freezer {
  return {
    warnings: ['weak'],
    watchdogPids: [],
    lost: lost.signal,
    freeze: () => call('freeze'),
    probe: () => call('probe'),
    watchCommand: () => {
      done.push('watch');
      return { started: () => undefined, ended: () => undefined };
    },
    thaw: async () => {
      await call('thaw');
      return outcome;
    },
    close: () => call('close'),
  };
}

/** Hangs until it is told to stop, as a program is, and then fails. */
function hangs({ signal }: CreateOptions): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new Error('lvcreate was ended by SIGTERM'));
    if (signal.aborted) fail();
    signal.addEventListener('abort', fail);
  });
}

async function take(
  request: Partial<WindowRequest> = {},
  create: (options: CreateOptions) => Promise<void> = async () => undefined,
): Promise<WindowResult> {
  const provider = {
    create: async (_: unknown, options: CreateOptions) => {
      options.watchCommand?.();
      await call('create');
      await create(options);
    },
  } as unknown as SnapshotProvider;
  return await takeWindow(
    {
      targets: [SRV],
      devices: [],
      origins: [],
      options: { timeoutMs: 1000, maxHoldMs: 2000 },
      batches: [{ provider, refs: [] }],
      ...request,
    },
    {
      arm: async () => {
        done.push('arm');
        return aFreezer();
      },
      timeline,
      stack,
      warn: (message) => done.push(message),
      beginning: () => done.push('beginning'),
      thawed: (came) => {
        expect(came).toEqual(done.includes('thaw failed') ? { filesystems: [], devices: [] } : outcome);
        done.push('told');
      },
    },
    stopping.signal,
  );
}

describe('a window in which we freeze', () => {
  it('freezes, makes the snapshots, thaws, and tells of it then', async () => {
    acts = { freeze: async () => expect(told).toEqual(['freeze']) };
    expect(await take()).toMatchObject({ warnings: ['weak'] });
    expect(told).toEqual(['freeze', 'snapshot', 'thaw']);
    expect(done).toEqual(['arm', 'freeze', 'beginning', 'create', 'thaw', 'told', 'close']);
    expect(timeline.steps.map(({ step }) => step)).toEqual(['arm', 'freeze', 'snapshot', 'thaw']);
    expect(stack.isEmpty).toBe(true);
  });

  it('has the programs watched where there are devices that they may suspend', async () => {
    outcome = {
      filesystems: [],
      devices: [{ device: VOLUME, lost: undefined, resumed: true, suspendedMs: 1 }],
    };
    await take({ targets: [], devices: [VOLUME] });
    expect(done.filter((name) => ['watch', 'create'].includes(name))).toEqual(['watch', 'create']);
    expect(done).toContainEqual(expect.stringMatching(/^the snapshot command left vg-srv .*lvs -a/));
  });

  it('is not even armed once we are told to stop', async () => {
    stopping.abort(new Error('told to stop'));
    await expect(take()).rejects.toThrow('told to stop');
    expect(done).toEqual([]);
  });

  it.each(['lost', 'stopped', 'lost before'])(
    'thaws at once while FIFREEZE waits, and makes no snapshot: %s',
    async (why) => {
      let giveUp: (error: Error) => void = () => undefined;
      acts = {
        freeze: () => new Promise((_, reject) => (giveUp = reject)),
        thaw: async () => giveUp(new Error('given up')),
      };
      outcome = { filesystems: [], devices: [] };
      if (why === 'lost before') lost.abort('guard-died');
      const taking = take();
      if (why !== 'lost before') {
        await sleep(5);
        (why === 'lost' ? lost : stopping).abort(new Error('told to stop'));
      }
      await expect(taking).rejects.toThrow(why === 'stopped' ? 'told to stop' : 'given up');
      expect(done).toEqual(['arm', 'freeze', 'thaw', 'told', 'close']);
    },
  );

  it('makes no snapshot where it was lost before', async () => {
    acts = { freeze: async () => lost.abort('timeout') };
    outcome = { filesystems: [frozen('timeout')], devices: [] };
    await expect(take()).rejects.toMatchObject({
      code: 'freezeLost',
      message: 'the freeze was lost before the snapshot was complete: /srv (timeout)',
    });
    expect(done).not.toContain('create');
  });

  it('thaws at once where it is lost while a snapshot hangs, which is told to end', async () => {
    acts = { create: async () => void setTimeout(() => lost.abort('max-hold'), 5) };
    outcome = { filesystems: [frozen('max-hold')], devices: [] };
    await expect(take({}, hangs)).rejects.toMatchObject({ code: 'freezeLost' });
    expect(done).toEqual(['arm', 'freeze', 'beginning', 'create', 'thaw', 'told', 'close']);
  });

  it('thaws before a snapshot that hangs on what is frozen has ended', async () => {
    let thaw: () => void = () => undefined;
    acts = { thaw: async () => thaw() };
    outcome = { filesystems: [frozen('timeout')], devices: [] };
    const taking = take({}, () => new Promise((resolve) => (thaw = resolve)));
    setTimeout(() => lost.abort('timeout'), 5);
    await expect(taking).rejects.toMatchObject({ code: 'freezeLost' });
  });

  it('calls a loss of a device one of the filesystems on it', async () => {
    outcome = {
      filesystems: [],
      devices: [{ device: VOLUME, lost: 'left-suspended', resumed: false, suspendedMs: 1 }],
    };
    await expect(take({ targets: [], devices: [VOLUME] })).rejects.toMatchObject({
      message: expect.stringContaining('/srv (left-suspended)') as string,
      hint: expect.stringContaining('without resuming') as string,
    });
  });

  it('tells of the gravest failure: still frozen, told to stop, lost, not frozen, no snapshot', async () => {
    const failing = (name: string) => async (): Promise<never> => {
      done.push(`${name} failed`);
      throw new Error(`no ${name}`);
    };
    acts = { create: failing('create') };
    await expect(take()).rejects.toThrow('no create');
    acts = { freeze: failing('freeze') };
    await expect(take()).rejects.toThrow('no freeze');
    outcome = { filesystems: [frozen('signal')], devices: [] };
    await expect(take()).rejects.toThrow('the freeze was lost');
    acts = { freeze: async () => stopping.abort(new Error('told to stop')) };
    await expect(take()).rejects.toThrow('told to stop');
    stopping = new AbortController();
    acts = { freeze: async () => stopping.abort(new Error('told to stop')), thaw: failing('thaw') };
    await expect(take()).rejects.toThrow('no thaw');
    expect(timeline.steps.at(-1)).toMatchObject({ step: 'thaw', frozen: true });
    // Of a thaw it is said only when something may still be frozen.
    expect(failed).toEqual(['snapshot', 'freeze', 'freeze', 'freeze', 'thaw']);
  });

  it('keeps guards that cannot be ended on the stack, and hides no failure by that', async () => {
    acts = { close: () => Promise.reject(new Error('no end')) };
    expect(await take({ origins: [SRV] })).toMatchObject({ warnings: ['weak'] });
    expect(done.filter((name) => name === 'close')).toHaveLength(2);
    expect(stack.isEmpty).toBe(false);
  });

  it('proves that nobody holds an origin frozen, after the arming and before the freeze', async () => {
    await take({ origins: [SRV] });
    expect(done.slice(0, 4)).toEqual(['arm', 'arm', 'probe', 'freeze']);
    done = [];
    acts = { probe: () => Promise.reject(new Error('another holds it')) };
    await expect(take({ origins: [SRV] })).rejects.toThrow('another holds it');
    expect(done).toEqual(['arm', 'arm', 'probe', 'close', 'close']);
  });
});

describe('a window without a freeze', () => {
  const without = { targets: [], createWithinMs: 20 };

  it('makes the snapshots, and arms nothing', async () => {
    expect(await take(without)).toEqual({
      snapshot: { startMs: expect.any(Number) as number, endMs: expect.any(Number) as number },
      warnings: [],
    });
    expect(done).toEqual(['beginning', 'create']);
    expect(timeline.steps.map(({ step }) => step)).toEqual(['snapshot']);
  });

  it('says of a snapshot that was not made in time that it hangs', async () => {
    await expect(take(without, hangs)).rejects.toMatchObject({
      message: expect.stringContaining('the snapshot was not made within max-hold') as string,
    });
  });

  it('fails as the snapshot does, and as it was told to', async () => {
    await expect(take(without, () => Promise.reject(new Error('no room')))).rejects.toThrow('no room');
    setTimeout(() => stopping.abort(new Error('told to stop')), 1);
    await expect(take({ targets: [] }, hangs)).rejects.toThrow('told to stop');
  });
});
