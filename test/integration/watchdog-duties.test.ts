import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { askWatchdog } from '../../src/freeze/control-client.js';
import { FrameConnection } from '../../src/freeze/frame-connection.js';
import { readStatus } from '../../src/freeze/freeze-record.js';
import type { LossReason } from '../../src/freeze/freezer.js';
import { encodeRequest, FrameType, lossNumber, lossReason, SlotState } from '../../src/freeze/protocol.js';
import { boottimeMs, freezeSlot, probeFrozen, readPage, thawInBackground } from '../../src/system/native.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import {
  busiestMs,
  GuardsByHand,
  socketsOf,
  type Guarded,
  type GuardOptions,
} from '../support/guards-by-hand.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const REPLY_MS = 60_000;
const ECHILD = 10;
const EINVAL = 22;
const ESRCH = 3;
const WARN_SECOND_LOST = 8;
/** Guards go before all other processes: one that never sleeps would take a processor from the machine. */
const IDLE_MS = 150;

/** Lines of the guards which others stand in for, so that no filesystem stays frozen without them. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'each guard by itself', () => {
  const disks = throwawayDisks(afterAll);
  const hand = new GuardsByHand(disks);
  let disk: ThrowawayFilesystem;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let harness: FreezeHarness;
  let stopped: number[];

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    stopped = [];
    harness = new FreezeHarness(`${disks.directory}/state`);
    hand.begin();
  });
  afterEach(async () => {
    for (const pid of stopped) if (isGuard(pid)) process.kill(pid, 'SIGCONT');
    await harness.dispose();
    await hand.end();
  });

  function stop(pid: number): void {
    stopped.push(pid);
    process.kill(pid, 'SIGSTOP');
  }

  async function frozen(options: GuardOptions = {}): Promise<Guarded> {
    const guarded = await hand.guard(disk, options);
    for (const [slot, fd] of guarded.mountpointFds.entries()) await freezeSlot(guarded.page, slot, fd);
    return guarded;
  }

  /** Why it was thawed, once it is. */
  async function lossOf(guarded: Guarded): Promise<LossReason | undefined> {
    await eventually('the thaw', () => hand.stateOf(guarded) === SlotState.thawed);
    expect(await probeFrozen(guarded.mountpointFd)).toBe(false);
    return lossReason(readPage(guarded.page)[0]?.loss ?? 0);
  }

  it.each([
    { stops: 0, timeoutMs: 300, maxHoldMs: 60_000, reason: 'timeout' },
    { stops: 1, timeoutMs: 300, maxHoldMs: 60_000, reason: 'timeout' },
    { stops: 0, timeoutMs: 0, maxHoldMs: 300, reason: 'max-hold' },
    { stops: 1, timeoutMs: 0, maxHoldMs: 300, reason: 'max-hold' },
  ] satisfies { stops: 0 | 1; timeoutMs: number; maxHoldMs: number; reason: LossReason }[])(
    'keeps the deadline beside number $stops, which is stopped, and sleeps then: $reason',
    async ({ stops, timeoutMs, maxHoldMs, reason }) => {
      const guarded = await hand.guard(disk, { timeoutMs, maxHoldMs });
      // Nothing but its timer wakes it from here on.
      stop(guarded.pids[stops]);
      await freezeSlot(guarded.page, 0, guarded.mountpointFd);
      expect(await lossOf(guarded)).toBe(reason);
      expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
    },
  );

  it.each([{ victim: 0 }, { victim: 1 }] satisfies { victim: 0 | 1 }[])(
    'of a freeze that was handed over thaws at once when number $victim is killed',
    async ({ victim }) => {
      const guarded = await frozen();
      const reply = await guarded.connection.request({ type: FrameType.detach }, REPLY_MS);
      expect(reply.error).toBe(0);
      // Its hanging up is not what thaws.
      guarded.connection.destroy();
      await sleep(50);
      expect(hand.stateOf(guarded)).toBe(SlotState.held);
      process.kill(guarded.pids[victim], 'SIGKILL');
      expect(await lossOf(guarded)).toBe('guard-died');
      await hand.ended(guarded);
    },
  );

  it('thaws at once when it is the second and the watchdog is killed', async () => {
    const guarded = await frozen();
    process.kill(guarded.pids[0], 'SIGKILL');
    expect(await lossOf(guarded)).toBe('guard-died');
  });

  it('lives on when it is the watchdog and the second is killed: the command is left', async () => {
    const guarded = await frozen();
    process.kill(guarded.pids[1], 'SIGKILL');
    const reset = { type: FrameType.reset, timeoutMs: 60_000 };
    expect((await guarded.connection.request(reset, REPLY_MS)).error).toBe(0);
    expect(hand.stateOf(guarded)).toBe(SlotState.held);
    guarded.connection.destroy();
    expect(await lossOf(guarded)).toBe('holder-died');
    await hand.ended(guarded);
  });

  it.each([60_000, 0])('sleeps until something is frozen, with a timeout of %i ms', async (timeoutMs) => {
    const guarded = await hand.guard(disk, { timeoutMs });
    expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
  });

  it.each(['a reset', 'a thaw'] as const)('sleeps after %s', async (what) => {
    const guarded = await frozen();
    const type = what === 'a reset' ? FrameType.reset : FrameType.thaw;
    expect((await guarded.connection.request({ type, timeoutMs: 60_000 }, REPLY_MS)).error).toBe(0);
    expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
  });

  it.each([0, 1] as const)('sleeps after number %i was told to end', async (told) => {
    const guarded = await frozen();
    process.kill(guarded.pids[told], 'SIGTERM');
    expect(await lossOf(guarded)).toBe('signal');
    expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
  });

  it('sleeps between its tries to thaw what is said to be in FIFREEZE still', async () => {
    const guarded = await hand.guard(disk);
    hand.publish(guarded, SlotState.calling);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
    expect(hand.stateOf(guarded)).toBe(SlotState.calling);
    hand.publish(guarded, SlotState.failed);
    expect((await thawed).error).toBe(0);
  });

  it('sleeps when it is the second, and cannot thaw yet what a dead watchdog has left', async () => {
    const guarded = await hand.guard(disk);
    hand.publish(guarded, SlotState.calling);
    process.kill(guarded.pids[0], 'SIGKILL');
    try {
      await eventually('a try', () => readPage(guarded.page)[0]?.thawBeginMs !== 0);
      expect(await busiestMs([guarded.pids[1]])).toBeLessThan(IDLE_MS);
    } finally {
      hand.publish(guarded, SlotState.failed);
    }
    await hand.ended(guarded);
  });

  it('sleeps while it cannot thaw yet what a dead command has left', async () => {
    const cli = held(upper);
    const { watchdog, second } = await harness.held(upper.mountpoint);
    // FITHAW waits for the filesystem below.
    await must('fsfreeze', '--freeze', lower.mountpoint);
    try {
      cli.kill('SIGKILL');
      await ended(cli);
      await sleep(50);
      expect(await busiestMs([watchdog, second])).toBeLessThan(IDLE_MS);
    } finally {
      await thawInBackground(hand.open(lower.mountpoint));
    }
    await eventually('both to end', () => !isGuard(watchdog) && !isGuard(second));
  });

  it('sleeps while FITHAW waits for a FIFREEZE, the deadline being over', async () => {
    const guarded = await hand.guard(upper, { timeoutMs: 200 });
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const freezing = freezeSlot(guarded.page, 0, guarded.mountpointFd);
    freezing.catch(() => undefined);
    try {
      await eventually('the deadline', () => readPage(guarded.page)[0]?.loss === lossNumber('timeout'));
      expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
    } finally {
      await thawInBackground(hand.open(lower.mountpoint));
    }
    await eventually('the thaw', () => hand.stateOf(guarded) === SlotState.thawed);
    await freezing.catch(() => undefined);
    const [slot] = readPage(guarded.page);
    expect(slot?.thawBeginMs).toBeGreaterThanOrEqual(slot?.deadlineMs ?? Infinity);
    expect(await probeFrozen(guarded.mountpointFd)).toBe(false);
  });

  it('claims what it thaws, so that the other leaves that alone', async () => {
    const guarded = await hand.guard(upper);
    await freezeSlot(guarded.page, 0, guarded.mountpointFd);
    // FITHAW waits for the filesystem below.
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    try {
      await eventually('the claim', () => hand.stateOf(guarded) === SlotState.thawing);
    } finally {
      await thawInBackground(hand.open(lower.mountpoint));
    }
    expect((await thawed).error).toBe(0);
  });

  it('sleeps while another has claimed what it is to thaw', async () => {
    const guarded = await frozen();
    hand.publishThawBegin(guarded, boottimeMs());
    hand.publish(guarded, SlotState.thawing);
    // A claim that grows old is taken over.
    const claims = setInterval(() => hand.publishThawBegin(guarded, boottimeMs()), 10);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    try {
      expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
    } finally {
      clearInterval(claims);
    }
    expect((await thawed).error).toBe(0);
  });

  it('says why it thaws what another had claimed, and was stopped', async () => {
    const guarded = await frozen();
    hand.publishThawBegin(guarded, boottimeMs() - 1000);
    hand.publish(guarded, SlotState.thawing);
    guarded.connection.destroy();
    expect(await lossOf(guarded)).toBe('holder-died');
  });

  it.each([
    ['before it: it was held to its end', -1, undefined],
    ['after it', 1, 'timeout'],
  ] as const)('takes over at the deadline what was claimed %s', async (_, ms, loss) => {
    const guarded = await frozen({ timeoutMs: 400 });
    hand.publishThawBegin(guarded, (readPage(guarded.page)[0]?.deadlineMs ?? 0) + ms);
    hand.publish(guarded, SlotState.thawing);
    expect(await lossOf(guarded)).toBe(loss);
  });

  it('takes no thaw of ours for that of somebody else: it was a moment faster, and says so in the next', async () => {
    const guarded = await frozen();
    await thawInBackground(guarded.mountpointFd);
    hand.publishThawBegin(guarded, boottimeMs() - 1000);
    hand.publish(guarded, SlotState.thawing);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    await sleep(20);
    hand.publish(guarded, SlotState.thawed);
    expect(await thawed).toMatchObject({ error: 0, slots: [{ loss: 0 }] });
  });

  it('takes what a dead watchdog was asking about, and was not frozen, for thawed', async () => {
    const guarded = await frozen();
    await thawInBackground(guarded.mountpointFd);
    hand.publish(guarded, SlotState.probing);
    process.kill(guarded.pids[0], 'SIGKILL');
    expect(await lossOf(guarded)).toBe('guard-died');
  });

  it('tells the command that the second is gone, once', async () => {
    const guarded = await hand.guard(disk);
    const warned: number[] = [];
    guarded.connection.onEvent = ({ warnings }) => warned.push(warnings);
    process.kill(guarded.pids[1], 'SIGKILL');
    await eventually('the word of it', () => warned.length > 0);
    await guarded.connection.request({ type: FrameType.status }, REPLY_MS);
    expect(warned.map((bits) => bits & WARN_SECOND_LOST)).toEqual([WARN_SECOND_LOST]);
  });

  it('tells the command of a loss once', async () => {
    const guarded = await frozen();
    let told = 0;
    guarded.connection.onEvent = () => (told += 1);
    process.kill(guarded.pids[0], 'SIGTERM');
    await eventually('the word of it', () => told > 0);
    await guarded.connection.request({ type: FrameType.status }, REPLY_MS);
    expect(told).toBe(1);
  });

  it('takes no freeze over when it is alone, and says so at once', async () => {
    const guarded = await frozen();
    process.kill(guarded.pids[1], 'SIGKILL');
    const reply = await guarded.connection.request({ type: FrameType.detach }, REPLY_MS);
    expect(reply.error).toBe(ECHILD);
    expect(hand.stateOf(guarded)).toBe(SlotState.held);
  });

  it('thaws when it is told to quit, and ends', async () => {
    const guarded = await frozen();
    const reply = await guarded.connection.request({ type: FrameType.quit }, REPLY_MS);
    expect(reply).toMatchObject({ error: 0, slots: [{ state: SlotState.thawed, loss: 0 }] });
    const [slot] = reply.slots;
    expect(slot?.thawBeginMs).toBeGreaterThanOrEqual(slot?.heldMs ?? Infinity);
    expect(slot?.thawedMs).toBeGreaterThanOrEqual(slot?.thawBeginMs ?? Infinity);
    await hand.ended(guarded);
    expect(await probeFrozen(guarded.mountpointFd)).toBe(false);
  });

  it('tells the second that it ends, which ends with it', async () => {
    const tookMs: number[] = [];
    // The second that is not told is killed half a second later; so is one that the machine keeps waiting.
    for (let round = 0; round < 5 && !tookMs.some((ms) => ms < 400); round += 1) {
      const guarded = await hand.guard(disk);
      const begun = performance.now();
      await guarded.connection.request({ type: FrameType.quit }, REPLY_MS);
      await hand.ended(guarded);
      tookMs.push(performance.now() - begun);
      hand.close(guarded.recordFd);
    }
    expect(Math.min(...tookMs)).toBeLessThan(400);
  });

  it('ends a second that is stopped, which would keep the lock', async () => {
    const guarded = await frozen();
    stop(guarded.pids[1]);
    await guarded.connection.request({ type: FrameType.quit }, REPLY_MS);
    await eventually('both to end', () => !guarded.pids.some(isGuard));
  });

  it('ends a watchdog that is stopped, which would keep the lock', async () => {
    const guarded = await frozen();
    expect((await guarded.connection.request({ type: FrameType.detach }, REPLY_MS)).error).toBe(0);
    stop(guarded.pids[0]);
    process.kill(guarded.pids[1], 'SIGTERM');
    expect(await lossOf(guarded)).toBe('signal');
    await hand.ended(guarded);
    expect(existsSync(guarded.controlPath)).toBe(false);
  });

  it('answers one request after the other, sent together as they may be', async () => {
    const guarded = await frozen();
    hand.publishThawBegin(guarded, boottimeMs());
    hand.publish(guarded, SlotState.thawing);
    const begun = boottimeMs();
    const [thawed, status] = await Promise.all(
      [FrameType.thaw, FrameType.status].map((type) => guarded.connection.request({ type }, REPLY_MS)),
    );
    expect([thawed?.error, status?.error]).toEqual([0, 0]);
    // Another's claim is given time, so that nobody thaws what was frozen anew meanwhile.
    expect((thawed?.slots[0]?.thawedMs ?? 0) - begun).toBeGreaterThanOrEqual(45);
  });

  it('resets only what is frozen', async () => {
    const guarded = await hand.guard(disk);
    const reset = { type: FrameType.reset, timeoutMs: 60_000 };
    const reply = await guarded.connection.request(reset, REPLY_MS);
    // Nor does it ask the kernel, which would freeze.
    expect(reply).toMatchObject({ error: EINVAL, slots: [{ state: SlotState.idle, loss: 0 }] });
  });

  it('resets the filesystem that is named, and no other', async () => {
    const guarded = await frozen({ besides: [lower] });
    const before = readPage(guarded.page).map(({ deadlineMs }) => deadlineMs);
    const reset = { type: FrameType.reset, slot: 1, timeoutMs: 300_000 };
    expect((await guarded.connection.request(reset, REPLY_MS)).error).toBe(0);
    expect(readPage(guarded.page).map(({ probing }) => probing)).toEqual([0, 0]);
    const [first, second] = readPage(guarded.page).map(({ deadlineMs }) => deadlineMs);
    expect(first).toBe(before[0]);
    expect(second).toBeGreaterThan((before[1] ?? Infinity) + 100_000);
  });

  it('asks only of the filesystem that is named whether it is frozen', async () => {
    const guarded = await frozen({ besides: [lower] });
    await thawInBackground(guarded.mountpointFd);
    const reset = { type: FrameType.reset, slot: 1, timeoutMs: 60_000 };
    expect((await guarded.connection.request(reset, REPLY_MS)).error).toBe(0);
    expect(hand.stateOf(guarded)).toBe(SlotState.held);
  });

  it('resets none of those that are named together when one of them is lost', async () => {
    const guarded = await frozen({ besides: [lower] });
    const [, before] = readPage(guarded.page);
    await thawInBackground(guarded.mountpointFd);
    const reset = { type: FrameType.reset, timeoutMs: 300_000 };
    expect((await guarded.connection.request(reset, REPLY_MS)).error).toBe(EINVAL);
    const [, after] = readPage(guarded.page);
    expect(after).toMatchObject({ state: SlotState.held, deadlineMs: before?.deadlineMs });
  });

  it('waits for the filesystem that is named alone', async () => {
    const guarded = await hand.guard(disk, { besides: [lower] });
    const [, lowerFd = -1] = guarded.mountpointFds;
    await freezeSlot(guarded.page, 1, lowerFd);
    hand.publish(guarded, SlotState.calling);
    const thawed = guarded.connection.request({ type: FrameType.thaw, slot: 0 }, REPLY_MS);
    try {
      await eventually('the thaw to begin', () => readPage(guarded.page)[0]?.thawBeginMs !== 0);
      // As a third party, while the command's own request waits.
      const other = await askWatchdog(guarded.controlPath, { type: FrameType.thaw, slot: 1 }, REPLY_MS);
      expect(other).toMatchObject({ error: EINVAL, slots: [{}, { loss: lossNumber('third-party') }] });
      expect(hand.stateOf(guarded)).toBe(SlotState.calling);
    } finally {
      hand.publish(guarded, SlotState.failed);
    }
    expect((await thawed).error).toBe(0);
    expect(await probeFrozen(lowerFd)).toBe(false);
  });

  it.each([0, 120_000])(
    'gives a reset to a timeout of %i ms all of max-hold, and no more',
    async (timeoutMs) => {
      const guarded = await frozen({ timeoutMs: 60_000, maxHoldMs: 90_000 });
      const reply = await guarded.connection.request({ type: FrameType.reset, timeoutMs }, REPLY_MS);
      expect(reply.error).toBe(0);
      const [{ deadlineMs, callMs } = { deadlineMs: 0, callMs: 0 }] = reply.slots;
      expect(deadlineMs - callMs).toBeCloseTo(90_000, 3);
    },
  );

  it('says EINVAL to whoever thaws what was lost before, and 0 to whoever only asks', async () => {
    const guarded = await frozen();
    process.kill(guarded.pids[0], 'SIGTERM');
    await eventually('the thaw', () => hand.stateOf(guarded) === SlotState.thawed);
    const thawed = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(thawed).toMatchObject({ error: EINVAL, slots: [{ loss: lossNumber('signal') }] });
    expect((await guarded.connection.request({ type: FrameType.status }, REPLY_MS)).error).toBe(0);
  });

  it('hangs up on whoever asks and does not read', async () => {
    const guarded = await hand.guard(disk);
    const before = socketsOf(guarded.pids[0]).length;
    const socket = connect(guarded.controlPath);
    await once(socket, 'connect');
    const broken = once(socket, 'error');
    for (let sequence = 1; sequence <= 2000; sequence += 1)
      socket.write(encodeRequest({ type: FrameType.status, sequence }));
    await broken;
    await eventually('the end of it', () => socketsOf(guarded.pids[0]).length === before);
    expect((await guarded.connection.request({ type: FrameType.status }, REPLY_MS)).error).toBe(0);
  });

  it('answers four others at a time; a fifth gets the place of the oldest that asks nothing', async () => {
    const guarded = await hand.guard(disk);
    const withThree = socketsOf(guarded.pids[0]).length + 3;
    const connections: FrameConnection[] = [];
    const ask = async (connection: FrameConnection): Promise<number> =>
      (await connection.request({ type: FrameType.status }, REPLY_MS)).error;
    const connected = async (): Promise<FrameConnection> => {
      const socket = connect(guarded.controlPath);
      const connection = new FrameConnection(socket);
      connections.push(connection);
      expect(await ask(connection)).toBe(0);
      return connection;
    };
    try {
      for (let count = 0; count < 6; count += 1) await connected();
      await eventually('two to be hung up on', () => connections.slice(0, 2).every(({ closed }) => closed));
      for (const connection of connections.slice(2)) expect(await ask(connection)).toBe(0);
      connections[3]?.destroy();
      await eventually('a free place', () => socketsOf(guarded.pids[0]).length === withThree);
      await connected();
      for (const connection of [2, 4, 5, 6].map((index) => connections[index]))
        expect(connection && (await ask(connection))).toBe(0);
    } finally {
      for (const connection of connections) connection.destroy();
    }
  });

  it('hangs up on nobody who waits for an answer', async () => {
    const guarded = await hand.guard(disk);
    hand.publish(guarded, SlotState.calling);
    const oldest = new FrameConnection(connect(guarded.controlPath));
    const answer = oldest.request({ type: FrameType.thaw }, REPLY_MS).catch((error: unknown) => error);
    await eventually('the thaw to begin', () => readPage(guarded.page)[0]?.thawBeginMs !== 0);
    const connections = Array.from({ length: 5 }, () => new FrameConnection(connect(guarded.controlPath)));
    try {
      await eventually('some to be hung up on', () => connections.some(({ closed }) => closed));
    } finally {
      hand.publish(guarded, SlotState.failed);
    }
    expect(await answer).toMatchObject({ type: FrameType.thaw });
    for (const connection of [oldest, ...connections]) connection.destroy();
  });

  it('hangs up at its end before it waits for the second', async () => {
    let isHungUpBefore = false;
    // Half a second; a machine that keeps this test waiting for longer shows nothing.
    for (let round = 0; round < 5 && !isHungUpBefore; round += 1) {
      const guarded = await hand.guard(disk);
      stop(guarded.pids[1]);
      await guarded.connection.request({ type: FrameType.quit }, REPLY_MS);
      await eventually('the end of the connection', () => guarded.connection.closed);
      await sleep(50);
      isHungUpBefore = isGuard(guarded.pids[0]);
      await hand.ended(guarded);
      hand.close(guarded.recordFd);
    }
    expect(isHungUpBefore).toBe(true);
  });

  // Below what it asks poll(2) about, and that: it can ask then, and open none.
  it.each([6, 11])('answers though somebody has lowered its limit of open files to %i', async (limit) => {
    const guarded = await hand.guard(disk);
    // The soft one: to raise the hard one takes a capability that root need not have.
    await must('prlimit', '--pid', String(guarded.pids[0]), `--nofile=${limit}:`);
    // What it waited for until here it has asked for before.
    await guarded.connection.request({ type: FrameType.status }, REPLY_MS);
    const reply = await askWatchdog(guarded.controlPath, { type: FrameType.status }, REPLY_MS);
    expect(reply?.error).toBe(0);
  });

  it.each([
    ['watchdog', 0, 1],
    ['second', 1, 0],
  ] as const)(
    'sleeps, and keeps the deadline, where the limit of open files of the %s is below what it has',
    async (_, limited, other) => {
      const guarded = await frozen();
      await must('prlimit', '--pid', String(guarded.pids[limited]), '--nofile=3');
      // That wakes both: what they waited for until here they have asked for before.
      const reset = { type: FrameType.reset, timeoutMs: 2000 };
      expect((await guarded.connection.request(reset, REPLY_MS)).error).toBe(0);
      stop(guarded.pids[other]);
      expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
      expect(await lossOf(guarded)).toBe('timeout');
      process.kill(guarded.pids[limited], 'SIGKILL');
    },
  );

  it('sleeps between its tries to answer, where it can open no more files', async () => {
    const guarded = await hand.guard(disk);
    // As many as it asks about: poll(2) wants no fewer.
    await must('prlimit', '--pid', String(guarded.pids[0]), '--nofile=11');
    const socket = connect(guarded.controlPath);
    await once(socket, 'connect');
    try {
      expect(await busiestMs(guarded.pids)).toBeLessThan(IDLE_MS);
      // To the command it listens all the same.
      expect((await guarded.connection.request({ type: FrameType.status }, REPLY_MS)).error).toBe(0);
    } finally {
      socket.destroy();
    }
  });

  it('takes a request in pieces', async () => {
    const guarded = await hand.guard(disk);
    const socket = connect(guarded.controlPath);
    const connection = new FrameConnection(socket);
    const request = encodeRequest({ type: FrameType.status, sequence: 1 });
    const reply = once(socket, 'data');
    socket.write(request.subarray(0, 100));
    await sleep(100);
    socket.write(request.subarray(100));
    await reply;
    expect(connection.closed).toBe(false);
    socket.write(encodeRequest({ type: FrameType.status, sequence: 2 }));
    await once(socket, 'data');
    connection.destroy();
  });

  it('ends at once when the command dies that has armed it', async () => {
    const { child, socket, arm, recordFd } = await hand.unarmed(disk);
    socket.write(encodeRequest(arm), () => socket.destroy());
    // Long before any deadline.
    await once(child, 'exit');
    hand.close(recordFd);
    // So has the second, or it would keep the lock.
    hand.close(await eventually('the lock', () => hand.lock(disk).catch(() => undefined)));
  });

  it('guards for nobody but its parent', async () => {
    const { child, socket, arm } = await hand.unarmed(disk, { through: ['sh', '-c', '"$0"; exit'] });
    const connection = new FrameConnection(socket);
    expect((await connection.request(arm, REPLY_MS)).error).toBe(ESRCH);
    connection.destroy();
    await once(child, 'exit');
  });

  /** A command that holds the freeze for longer than anybody here waits. */
  function held(filesystem = disk): ChildProcess {
    const times = ['--timeout', '110', '--max-hold', '115'];
    return harness.startFsbackup('freeze', ...times, filesystem.mountpoint, '--', 'sleep', '90');
  }

  it('learns of the death of the command though somebody keeps its connection', async () => {
    const keeper = `${disks.directory}/keep-sockets`;
    const source = resolve(import.meta.dirname, '../support/keep-sockets.c');
    await must('cc', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-o', keeper, source);
    const cli = held();
    const { second } = await harness.held(disk.mountpoint);
    const kept = harness.start(keeper, [String(cli.pid)]);
    await once(kept.stdout ?? kept, 'data');
    stop(second);
    cli.kill('SIGKILL');
    await harness.write(disk.mountpoint);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(false);
  });

  it.each(['watchdog', 'second'] as const)(
    'takes what a dead command had begun to freeze, and never froze, for thawed: its %s alone',
    async (left) => {
      const cli = held();
      const guards = await harness.held(disk.mountpoint);
      const page = openSync(`/proc/${guards.second}/fd/4`, 'r+');
      try {
        await must('fsfreeze', '--unfreeze', disk.mountpoint);
        hand.publish({ pageFd: page }, SlotState.calling);
      } finally {
        closeSync(page);
      }
      stop(left === 'second' ? guards.watchdog : guards.second);
      cli.kill('SIGKILL');
      await eventually('it to end', () => !isGuard(guards[left]));
      const record = hand.open(`${disks.directory}/state/run/superblocks/${disk.majorMinor}`);
      expect(readStatus(record)).toMatchObject({ kind: 'lost', reason: 'holder-died' });
    },
  );
});
