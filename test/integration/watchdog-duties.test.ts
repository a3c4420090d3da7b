import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { FrameConnection } from '../../src/freeze/frame-connection.js';
import { encodeRequest, FrameType, lossNumber, SlotState } from '../../src/freeze/protocol.js';
import { boottimeMs, freezeSlot, probeFrozen, readPage, thaw } from '../../src/system/native.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { GuardsByHand, socketsOf, type Guarded } from '../support/guards-by-hand.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const WATCHDOG = resolve(import.meta.dirname, '../../native/build/watchdog');
const REPLY_MS = 60_000;
const ECHILD = 10;
const EINVAL = 22;
const ESRCH = 3;
const MS_PER_TICK = 10;

/** The processor time that a process has had. */
function busyMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ');
  // Fields 14 and 15: in itself, and in the kernel. The name in parentheses has no spaces.
  return (Number(fields[13]) + Number(fields[14])) * MS_PER_TICK;
}

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

  async function frozen(options: { timeoutMs?: number; maxHoldMs?: number } = {}): Promise<Guarded> {
    const guarded = await hand.guard(disk, options);
    await freezeSlot(guarded.page, 0, guarded.mountpointFd);
    return guarded;
  }

  /** Guards go before all other processes: one that never sleeps would take a processor from the machine. */
  async function expectIdle({ pids }: Guarded): Promise<void> {
    const before = pids.map(busyMs);
    await sleep(500);
    for (const [index, pid] of pids.entries()) expect(busyMs(pid) - (before[index] ?? 0)).toBeLessThan(200);
  }

  it.each(['a reset', 'a thaw'] as const)('sleeps after %s', async (what) => {
    const guarded = await frozen();
    const type = what === 'a reset' ? FrameType.reset : FrameType.thaw;
    expect((await guarded.connection.request({ type, timeoutMs: 60_000 }, REPLY_MS)).error).toBe(0);
    await expectIdle(guarded);
  });

  it('sleeps between its tries to thaw what is said to be in FIFREEZE still', async () => {
    const guarded = await hand.guard(disk);
    hand.publish(guarded, SlotState.calling);
    const thawed = guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    await expectIdle(guarded);
    expect(hand.stateOf(guarded)).toBe(SlotState.calling);
    hand.publish(guarded, SlotState.failed);
    expect((await thawed).error).toBe(0);
  });

  it('sleeps while FITHAW waits for a FIFREEZE, the deadline being over', async () => {
    const guarded = await hand.guard(upper, { timeoutMs: 200 });
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const freezing = freezeSlot(guarded.page, 0, guarded.mountpointFd);
    freezing.catch(() => undefined);
    try {
      await eventually('the deadline', () => readPage(guarded.page)[0]?.loss === lossNumber('timeout'));
      await expectIdle(guarded);
    } finally {
      thaw(hand.open(lower.mountpoint));
    }
    await eventually('the thaw', () => hand.stateOf(guarded) === SlotState.thawed);
    await freezing.catch(() => undefined);
    expect(await probeFrozen(guarded.mountpointFd)).toBe(false);
  });

  it('tells the command that the second is gone', async () => {
    const guarded = await hand.guard(disk);
    const warned: number[] = [];
    guarded.connection.onEvent = ({ warnings }) => warned.push(warnings);
    process.kill(guarded.pids[1], 'SIGKILL');
    await eventually('the word of it', () => warned.some((bits) => (bits & 8) !== 0));
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
    expect((await guarded.connection.request(reset, REPLY_MS)).error).toBe(EINVAL);
  });

  it('gives a reset to no timeout all of max-hold', async () => {
    const guarded = await frozen({ timeoutMs: 60_000, maxHoldMs: 90_000 });
    const reply = await guarded.connection.request({ type: FrameType.reset, timeoutMs: 0 }, REPLY_MS);
    expect(reply.error).toBe(0);
    const [{ deadlineMs, callMs } = { deadlineMs: 0, callMs: 0 }] = reply.slots;
    expect(deadlineMs - callMs).toBeCloseTo(90_000, 3);
  });

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

  /** Starts a watchdog as `startWatchdog` does, but says nothing to it yet. */
  async function unarmed(program: string, args: readonly string[]) {
    const { request } = await hand.request(disk);
    const { pageFd, expediteFd, mountpointFds, recordFds, controlPath } = request;
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', pageFd, expediteFd, ...mountpointFds, ...recordFds],
    });
    await once(child, 'spawn');
    const socket = child.stdio[3] as unknown as Socket;
    return { child, socket, recordFds, arm: { type: FrameType.arm, slotCount: 1, controlPath } };
  }

  it('ends at once when the command dies that has armed it', async () => {
    const { child, socket, arm, recordFds } = await unarmed(WATCHDOG, []);
    socket.write(encodeRequest({ ...arm, sequence: 1 }), () => socket.destroy());
    // Long before any deadline.
    await once(child, 'exit');
    for (const fd of recordFds) hand.close(fd);
    // So has the second, or it would keep the lock.
    hand.close(await eventually('the lock', () => hand.lock(disk).catch(() => undefined)));
  });

  it('guards for nobody but its parent', async () => {
    const { child, socket, arm } = await unarmed('sh', ['-c', `${WATCHDOG}; exit`]);
    const connection = new FrameConnection(socket);
    expect((await connection.request(arm, REPLY_MS)).error).toBe(ESRCH);
    connection.destroy();
    await once(child, 'exit');
  });

  it('learns of the death of the command though somebody keeps its connection', async () => {
    const keeper = `${disks.directory}/keep-sockets`;
    const source = resolve(import.meta.dirname, '../support/keep-sockets.c');
    await must('cc', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-o', keeper, source);
    const cli = harness.startFsbackup('freeze', '--timeout', '60', disk.mountpoint, '--', 'sleep', '90');
    const { second } = await harness.held(disk.mountpoint);
    const kept = harness.start(keeper, [String(cli.pid)]);
    await once(kept.stdout ?? kept, 'data');
    stop(second);
    cli.kill('SIGKILL');
    await harness.write(disk.mountpoint);
  });
});
