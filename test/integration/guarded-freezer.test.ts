import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { armFreezer, type ArmOptions } from '../../src/freeze/arm-freezer.js';
import { findRecord } from '../../src/freeze/freeze-record.js';
import type { FreezeTarget } from '../../src/freeze/freezer.js';
import { askWatchdog } from '../../src/freeze/control-client.js';
import type { FreezeSet } from '../../src/freeze/freeze-set.js';
import { GuardedFreezer } from '../../src/freeze/guarded-freezer.js';
import { FrameType } from '../../src/freeze/protocol.js';
import { thawMountpoints } from '../../src/freeze/release-by-hand.js';
import type { Watchdog } from '../../src/freeze/watchdog-process.js';
import { probeFrozen } from '../../src/system/native.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, isGuard } from '../support/freeze-harness.js';
import { GuardsByHand } from '../support/guards-by-hand.js';
import { watchOpenFiles } from '../support/open-files.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const LONG = { timeoutMs: 60_000, maxHoldMs: 90_000 };

/** The command line's part of the freeze, with guards that this process stops, kills and asks. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the freezer', () => {
  const disks = throwawayDisks(afterAll);
  const hand = new GuardsByHand(disks);
  let ext4: ThrowawayFilesystem;
  let xfs: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let freezers: GuardedFreezer[];

  beforeAll(async () => {
    ext4 = await disks.filesystem({ fstype: 'ext4' });
    xfs = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: xfs });
  });
  beforeEach(() => {
    freezers = [];
    hand.begin();
  });
  afterEach(async () => {
    for (const freezer of freezers) {
      signal(freezer, 'SIGCONT');
      await freezer.close().catch(() => undefined);
      await ended(freezer);
    }
    await hand.end();
  });

  function target({ mountpoint, majorMinor, device, fstype }: ThrowawayFilesystem): FreezeTarget {
    return { mountpoint, majorMinor, device, fstype };
  }

  async function armed(options: ArmOptions, ...filesystems: ThrowawayFilesystem[]): Promise<GuardedFreezer> {
    const freezer = await armFreezer({ targets: filesystems.map(target), devices: [] }, options);
    freezers.push(freezer);
    return freezer;
  }

  async function frozen(options: ArmOptions, ...filesystems: ThrowawayFilesystem[]): Promise<GuardedFreezer> {
    const freezer = await armed(options, ...filesystems);
    await freezer.freeze();
    return freezer;
  }

  /** The second first: the watchdog would not outlive it by much. */
  function signal({ watchdogPids }: GuardedFreezer, name: NodeJS.Signals): void {
    for (const pid of watchdogPids.toReversed()) if (isGuard(pid)) process.kill(pid, name);
  }

  async function ended({ watchdogPids }: GuardedFreezer): Promise<void> {
    await eventually('the guards to end', () => !watchdogPids.some(isGuard));
  }

  function statusOf(filesystem: ThrowawayFilesystem): unknown {
    return findRecord(filesystem)?.status;
  }

  async function isFrozen({ mountpoint }: ThrowawayFilesystem): Promise<boolean> {
    return await probeFrozen(hand.open(mountpoint));
  }

  /** What would keep this process. */
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

  it('keeps the deadline when both guards are stopped, and tells why', async () => {
    const freezer = await frozen({ timeoutMs: 300, maxHoldMs: 90_000 }, ext4);
    signal(freezer, 'SIGSTOP');
    await eventually('the loss', () => freezer.lost.aborted);
    expect(freezer.lost.reason).toBe('timeout');
    const { filesystems } = await freezer.thaw();
    expect(filesystems).toMatchObject([{ target: target(ext4), lost: 'timeout' }]);
    expect(await isFrozen(ext4)).toBe(false);
    signal(freezer, 'SIGCONT');
    await freezer.close();
    expect(statusOf(ext4)).toMatchObject({ kind: 'lost', reason: 'timeout' });
  });

  it('thaws at once when both guards are killed, long before the deadline', async () => {
    const freezer = await frozen(LONG, ext4);
    signal(freezer, 'SIGSTOP');
    signal(freezer, 'SIGKILL');
    await eventually('the loss', () => freezer.lost.aborted);
    expect(freezer.lost.reason).toBe('guard-died');
    expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: 'guard-died' }]);
    expect(statusOf(ext4)).toMatchObject({ kind: 'lost', reason: 'guard-died' });
    expect(await isFrozen(ext4)).toBe(false);
    await freezer.close();
    expect(readdirSync(`${disks.directory}/run/control`)).toEqual([]);
  });

  it('learns by its heartbeat that somebody else has thawed, and resets no more', async () => {
    const freezer = await frozen({ timeoutMs: 1000, maxHoldMs: 90_000 }, ext4);
    await must('fsfreeze', '--unfreeze', ext4.mountpoint);
    await eventually('the loss', () => freezer.lost.aborted);
    expect(freezer.lost.reason).toBe('third-party');
    expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: 'third-party' }]);
  });

  it('learns at the thaw, if not before, that somebody else has thawed', async () => {
    const freezer = await frozen(LONG, ext4);
    await must('fsfreeze', '--unfreeze', ext4.mountpoint);
    expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: 'third-party' }]);
    expect(freezer.lost.reason).toBe('third-party');
    expect(statusOf(ext4)).toMatchObject({ kind: 'lost', reason: 'third-party' });
  });

  it('hands over nothing of which a part was lost meanwhile, and thaws the rest', async () => {
    const freezer = await frozen({ ...LONG, freezeId: 'abcd1234' }, ext4, xfs);
    const controlPath = findRecord(ext4)?.body.controlPath ?? '';
    await askWatchdog(controlPath, { type: FrameType.thaw, slot: 0 }, 60_000);
    expect([await isFrozen(ext4), await isFrozen(xfs)]).toEqual([false, true]);
    await expect(freezer.detach()).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('given up before it was complete') as string,
    });
    expect(await isFrozen(xfs)).toBe(false);
  });

  it('says for how long it is handed over: that of which the time is up first', async () => {
    const freezer = await frozen({ ...LONG, freezeId: 'abcd1234' }, ext4, xfs);
    const { expiresInMs } = await freezer.detach();
    expect(expiresInMs).toBeLessThan(LONG.timeoutMs);
    expect(expiresInMs).toBeGreaterThan(LONG.timeoutMs / 2);
    await thawMountpoints([ext4.mountpoint, xfs.mountpoint], { force: false });
  });

  it('leaves no guards, and so no lock, where a freeze cannot be put on record', async () => {
    const run = `${disks.directory}/full-run`;
    mkdirSync(run);
    await must('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', run);
    try {
      process.env['FSBACKUP_RUN_DIR'] = run;
      await must('mkdir', '-m', '700', `${run}/control`, `${run}/superblocks`);
      await must('sh', '-c', 'head -c 1M /dev/zero >"$1/fill" 2>/dev/null || true', 'sh', run);
      for (let times = 0; times < 2; times += 1)
        await expect(armed(LONG, ext4)).rejects.toThrow('cannot be put on record');
      expect(readdirSync(`${run}/control`)).toEqual([]);
    } finally {
      await must('umount', run);
    }
  });

  it('leaves the guards to go on where a thaw fails', async () => {
    const done: string[] = [];
    const failing = new GuardedFreezer(
      {
        page: undefined,
        slots: [],
        watch: undefined,
        hasEnded: false,
        thawByOurselves: () => Promise.reject(new Error('FITHAW keeps failing')),
        loss: undefined,
        isInFlight: false,
        undoProbes: () => done.push('undone'),
        recordEnded: () => done.push('recorded'),
        close: () => done.push('closed'),
      } as unknown as FreezeSet,
      LONG,
      {
        connection: { request: () => Promise.resolve({}), closed: false },
        pids: [],
        warnings: [],
        end: async () => void done.push('ended'),
        quit: async () => undefined,
        release: () => done.push('released'),
      } as unknown as Watchdog,
    );
    await expect(failing.close()).rejects.toThrow('FITHAW keeps failing');
    expect(done).toEqual(['released', 'recorded', 'closed']);
  });

  it('gives up a freeze that is in flight, once it can', async () => {
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    const freezer = await armed(LONG, upper);
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    let freezing: Promise<unknown>;
    let thawing: Promise<unknown>;
    try {
      freezing = freezer.freeze().catch((error: unknown) => error);
      // The watchdog's patience, and ours with it, is over before FIFREEZE is.
      thawing = freezer.thaw();
      await sleep(700);
    } finally {
      await must('fsfreeze', '--unfreeze', xfs.mountpoint);
    }
    expect(await freezing).toMatchObject({ code: 'freezeLost' });
    await thawing;
    expect(await isFrozen(upper)).toBe(false);
  });

  it('is told of a loss at once by the guard that caused it', async () => {
    const freezer = await frozen(LONG, ext4);
    process.kill(freezer.watchdogPids[0] ?? 0, 'SIGTERM');
    await eventually('the loss', () => freezer.lost.aborted);
    expect(freezer.lost.reason).toBe('signal');
  });

  it('warns of a second that is gone', async () => {
    const freezer = await frozen(LONG, ext4);
    process.kill(freezer.watchdogPids[1] ?? 0, 'SIGKILL');
    await eventually('the warning', () => freezer.warnings.some((text) => text.includes('second')));
    expect(freezer.lost.aborted).toBe(false);
    expect((await freezer.thaw()).filesystems).toMatchObject([{ lost: undefined }]);
  });

  it('freezes all or none', async () => {
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    try {
      const freezer = await armed(LONG, ext4, xfs);
      await expect(freezer.freeze()).rejects.toMatchObject({ code: 'notFrozen' });
      expect(await isFrozen(ext4)).toBe(false);
      expect(await isFrozen(xfs)).toBe(true);
      expect((await freezer.thaw()).filesystems.map((one) => one.target)).toEqual([target(ext4)]);
      await freezer.close();
      expect(statusOf(xfs)).toEqual({ kind: 'thawed' });
    } finally {
      await must('fsfreeze', '--unfreeze', xfs.mountpoint);
    }
  });

  it('measures what was frozen, and no more', async () => {
    const begun = performance.now();
    const freezer = await frozen(LONG, ext4);
    const [outcome] = (await freezer.thaw()).filesystems;
    const tookMs = performance.now() - begun;
    expect(outcome?.frozenMs).toBeGreaterThan(0);
    expect(outcome?.freezeCallMs).toBeGreaterThan(0);
    expect(outcome?.thawMs).toBeGreaterThan(0);
    expect((outcome?.freezeCallMs ?? 0) + (outcome?.thawMs ?? 0)).toBeLessThanOrEqual(outcome?.frozenMs ?? 0);
    expect(outcome?.frozenMs).toBeLessThanOrEqual(tookMs);
    // Asked again, it has not thawed again.
    expect((await freezer.thaw()).filesystems).toEqual([outcome]);
  });

  it('hands the freeze over, and is done with it', async () => {
    const freezer = await frozen({ ...LONG, freezeId: 'abcd1234' }, ext4);
    await freezer.detach();
    await freezer.close();
    expect(await isFrozen(ext4)).toBe(true);
    process.kill(freezer.watchdogPids[0] ?? 0, 'SIGTERM');
    await ended(freezer);
  });

  it('hands nothing over to a watchdog that is alone', async () => {
    const freezer = await frozen({ ...LONG, freezeId: 'abcd1234' }, ext4);
    process.kill(freezer.watchdogPids[1] ?? 0, 'SIGKILL');
    await expect(freezer.detach()).rejects.toMatchObject({ code: 'freezeLost' });
    expect(await isFrozen(ext4)).toBe(false);
  });

  it('waits for no guard that has nothing to do any more', async () => {
    const tookMs: number[] = [];
    // One that is not told to end is killed two seconds later.
    for (let round = 0; round < 3 && !tookMs.some((ms) => ms < 1500); round += 1) {
      const freezer = await frozen(LONG, ext4);
      const begun = performance.now();
      await freezer.close();
      tookMs.push(performance.now() - begun);
    }
    expect(Math.min(...tookMs)).toBeLessThan(1500);
  });

  it('thaws by itself, from the lowest up, what nobody takes over, and ends guards that are stopped', async () => {
    const freezer = await frozen({ ...LONG, freezeId: 'abcd1234' }, upper, xfs);
    signal(freezer, 'SIGSTOP');
    await expect(freezer.detach()).rejects.toMatchObject({ code: 'freezeLost' });
    expect((await freezer.thaw()).filesystems).toMatchObject([
      { target: target(upper), lost: undefined },
      { target: target(xfs), lost: undefined },
    ]);
    for (const filesystem of [xfs, upper]) {
      expect(await isFrozen(filesystem)).toBe(false);
      expect(statusOf(filesystem)).toEqual({ kind: 'thawed' });
    }
    expect(freezer.watchdogPids.some(isGuard)).toBe(false);
  });

  it('leaves no descriptor open, no timer, and its lock free, however it ended', async () => {
    const before = timers();
    const allClosed = watchOpenFiles();
    const closed = await frozen(LONG, ext4);
    await closed.close();
    await closed.close();
    const unused = await armed(LONG, ext4);
    await unused.close();
    expect(statusOf(ext4)).toEqual({ kind: 'thawed' });
    await armed(LONG, ext4).then((freezer) => freezer.close());
    await expect(armed(LONG, ext4, { ...xfs, majorMinor: '0:0' })).rejects.toMatchObject({
      code: 'notFrozen',
    });
    const other = await armed(LONG, ext4);
    await expect(armed(LONG, xfs, ext4)).rejects.toMatchObject({ code: 'locked' });
    await other.close();
    const handedOver = await frozen({ ...LONG, freezeId: 'abcd1234' }, ext4);
    await handedOver.detach();
    process.kill(handedOver.watchdogPids[0] ?? 0, 'SIGTERM');
    await ended(handedOver);
    await allClosed();
    expect(timers()).toBeLessThanOrEqual(before);
  });

  it('says on record what it holds, before it does', async () => {
    await armed({ timeoutMs: null, maxHoldMs: 90_000 }, ext4, xfs);
    expect(findRecord(xfs)).toMatchObject({
      status: { kind: 'armed' },
      guarded: true,
      body: { ...target(xfs), slot: 1, timeoutSeconds: null, maxHoldSeconds: 90, detached: false },
    });
  });

  it('proves by a probe that nobody holds it frozen, and leaves nothing on record as frozen', async () => {
    const freezer = await armed(LONG, ext4, xfs);
    await freezer.probe();
    for (const filesystem of [ext4, xfs]) {
      expect(statusOf(filesystem)).toEqual({ kind: 'thawed' });
      expect(await isFrozen(filesystem)).toBe(false);
    }
    await freezer.close();
    await must('fsfreeze', '--freeze', ext4.mountpoint);
    try {
      const refused = await armed(LONG, ext4);
      await expect(refused.probe()).rejects.toMatchObject({ code: 'notFrozen' });
      expect(await isFrozen(ext4)).toBe(true);
    } finally {
      await must('fsfreeze', '--unfreeze', ext4.mountpoint);
    }
  });

  it('gives its timeout to each heartbeat', async () => {
    const freezer = await frozen({ timeoutMs: 400, maxHoldMs: 1500 }, ext4);
    const begun = performance.now();
    await eventually('the end', () => freezer.lost.aborted);
    // Several timeouts later, and not before the longest hold was over.
    expect(freezer.lost.reason).toBe('max-hold');
    expect(performance.now() - begun).toBeGreaterThan(1000);
  });
});
