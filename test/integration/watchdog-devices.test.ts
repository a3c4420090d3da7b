import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import { askWatchdog } from '../../src/freeze/control-client.js';
import { FrameType, lossNumber, WatchState } from '../../src/freeze/protocol.js';
import { startWatchdog, type Watchdog, type WatchdogRequest } from '../../src/freeze/watchdog-process.js';
import {
  addDevice,
  createPage,
  freezeSlot,
  openWatch,
  publishEnded,
  publishStarted,
  publishStarting,
  readWatch,
  settleWatch,
  type PageHandle,
} from '../../src/system/native.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, isGuard } from '../support/freeze-harness.js';
import { busiestMs, GuardsByHand } from '../support/guards-by-hand.js';
import { WATCH_STATE_AT } from '../support/page-layout.js';
import { throwawayDisks } from '../support/throwaway-filesystem.js';

const REPLY_MS = 60_000;
const EINVAL = 22;
const ENOTTY = 25;
/** A number that no device-mapper device has. */
const DEVICE = '252:99999';

/** Where device-mapper would answer, something answers that knows none of its questions: no host needs to have it. */
const NO_DEVICE_MAPPER = '/dev/null';

interface Guarded {
  page: PageHandle;
  pageFd: number;
  watchdog: Watchdog;
}

describeNeeding(['root', 'loop', 'ext4'], 'the guards of devices, spoken to by hand', () => {
  const disks = throwawayDisks(afterAll);
  let fds: number[];
  let guardeds: Guarded[];
  let children: ChildProcess[];

  beforeEach(() => {
    fds = [];
    guardeds = [];
    children = [];
  });
  afterEach(async () => {
    for (const guarded of guardeds) {
      for (const pid of guarded.watchdog.pids) if (isGuard(pid)) process.kill(pid, 'SIGCONT');
      publish(guarded, WatchState.ended);
      guarded.watchdog.connection.destroy();
      await ends(guarded);
    }
    for (const child of children) child.kill('SIGKILL');
    for (const fd of fds) closeSync(fd);
  });

  /** Guards over one device and no filesystem, this process being the holder. */
  async function guard({ timeoutMs = 60_000, maxHoldMs = 600_000, controlPath = '' } = {}): Promise<Guarded> {
    const { fd: pageFd, page } = createPage(0, timeoutMs, maxHoldMs);
    addDevice(page, DEVICE);
    const expediteFd = openSync(`${disks.directory}/expedite`, constants.O_RDWR | constants.O_CREAT, 0o600);
    const deviceControlFd = openSync(NO_DEVICE_MAPPER, constants.O_RDWR);
    fds.push(pageFd, expediteFd, deviceControlFd);
    const watchdog = await startWatchdog({
      pageFd,
      expediteFd,
      mountpointFds: [],
      recordFds: [],
      deviceControlFd,
      controlPath,
    });
    const guarded = { page, pageFd, watchdog };
    guardeds.push(guarded);
    return guarded;
  }

  /** A program that hangs, published as one that may suspend the device. */
  async function hanging({ page }: Guarded): Promise<ChildProcess> {
    openWatch(page);
    const command = publishStarting(page);
    const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
    children.push(child);
    publishStarted(page, command, child.pid ?? 0);
    return child;
  }

  /** Plays another process of the three: the page is shared memory. */
  function publish({ pageFd }: Guarded, state: number): void {
    writeSync(pageFd, Uint32Array.of(state), 0, 4, WATCH_STATE_AT);
  }

  async function ends({ watchdog }: Guarded): Promise<void> {
    await eventually('the guards to end', () => watchdog.pids.every((pid) => !isGuard(pid)));
  }

  async function becomes(guarded: Guarded, state: number): Promise<void> {
    await eventually(`state ${state}`, () => readWatch(guarded.page).state === state);
  }

  it.each([60_000, 0])('sleep until a program begins, with a timeout of %i ms', async (timeoutMs) => {
    const guarded = await guard({ timeoutMs });
    expect(await busiestMs(guarded.watchdog.pids)).toBeLessThan(150);
  });

  it('sleep while a device is stuck', async () => {
    const guarded = await guard({ timeoutMs: 300 });
    const child = await hanging(guarded);
    await ended(child);
    await becomes(guarded, WatchState.stuck);
    expect(await busiestMs(guarded.watchdog.pids)).toBeLessThan(150);
  });

  it('end when the command hangs up that never opened the watch', async () => {
    const guarded = await guard();
    guarded.watchdog.connection.destroy();
    await ends(guarded);
    expect(readWatch(guarded.page)).toMatchObject({ state: WatchState.ended, loss: 0 });
    expect(() => openWatch(guarded.page)).toThrow(expect.objectContaining({ code: 'ECANCELED' }));
  });

  it('answer a thaw at once when no program was begun: whatever is suspended is not ours', async () => {
    const guarded = await guard();
    openWatch(guarded.page);
    const reply = await guarded.watchdog.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(reply).toMatchObject({ error: 0, slots: [] });
    expect(readWatch(guarded.page)).toMatchObject({ state: WatchState.ended, loss: 0 });
  });

  it('move the deadline at a reset, under the cap, and refuse one when the watch is over', async () => {
    const guarded = await guard({ timeoutMs: 10_000, maxHoldMs: 60_000 });
    const { connection } = guarded.watchdog;
    openWatch(guarded.page);
    const before = readWatch(guarded.page).deadlineMs;
    expect(await connection.request({ type: FrameType.reset, timeoutMs: 30_000 }, REPLY_MS)).toMatchObject({
      error: 0,
    });
    const moved = readWatch(guarded.page).deadlineMs;
    expect(moved).toBeGreaterThan(before + 15_000);
    await connection.request({ type: FrameType.reset, timeoutMs: 600_000 }, REPLY_MS);
    expect(readWatch(guarded.page).deadlineMs).toBeCloseTo(before + 50_000, 3);
    await connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect((await connection.request({ type: FrameType.reset, timeoutMs: 1000 }, REPLY_MS)).error).toBe(
      EINVAL,
    );
  });

  it.each([
    ['the deadline', { timeoutMs: 300 }, 'timeout'],
    ['max-hold, resets or not', { timeoutMs: 60_000, maxHoldMs: 300 }, 'max-hold'],
  ] as const)('kill the program at %s, and tell the command', async (_, times, loss) => {
    const guarded = await guard(times);
    let told = 0;
    guarded.watchdog.connection.onEvent = () => (told += 1);
    const child = await hanging(guarded);
    expect(await ended(child)).toBe('SIGKILL');
    // Whether the device is suspended cannot be told here: then it must not be called safe.
    await becomes(guarded, WatchState.stuck);
    const { loss: number, devices } = readWatch(guarded.page);
    expect({ number, devices }).toMatchObject({
      number: lossNumber(loss),
      devices: [{ errno: ENOTTY, resumed: 0 }],
    });
    await eventually('the word of it', () => told > 0);
    await guarded.watchdog.connection.request({ type: FrameType.status }, REPLY_MS);
    expect(told).toBe(1);
    expect(guarded.watchdog.pids.every(isGuard)).toBe(true);
  });

  it('kill the program when the command hangs up, and stay until the device is known to be safe', async () => {
    const guarded = await guard();
    const child = await hanging(guarded);
    guarded.watchdog.connection.destroy();
    expect(await ended(child)).toBe('SIGKILL');
    await becomes(guarded, WatchState.stuck);
    expect(readWatch(guarded.page).loss).toBe(lossNumber('holder-died'));
    expect(guarded.watchdog.pids.every(isGuard)).toBe(true);
    publish(guarded, WatchState.ended);
    await ends(guarded);
  });

  /** Does `work` with guards of the device and of a filesystem. */
  async function besideFilesystem(
    timeoutMs: number,
    work: (guarded: Guarded, request: WatchdogRequest) => Promise<void>,
  ): Promise<void> {
    const hand = new GuardsByHand(disks);
    hand.begin();
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const { page, request } = await hand.request(disk, { timeoutMs });
    addDevice(page, DEVICE);
    const deviceControlFd = hand.open(NO_DEVICE_MAPPER, constants.O_RDWR);
    const watchdog = await startWatchdog({ ...request, deviceControlFd });
    const guarded = { page, pageFd: request.pageFd, watchdog };
    try {
      await work(guarded, request);
    } finally {
      publish(guarded, WatchState.ended);
      watchdog.connection.destroy();
      await ends(guarded);
      await hand.end();
    }
  }

  it('say of a filesystem what became of that, whatever became of the devices', async () => {
    await besideFilesystem(300, async (guarded, request) => {
      expect(await ended(await hanging(guarded))).toBe('SIGKILL');
      await becomes(guarded, WatchState.stuck);
      const { controlPath } = request;
      const [one, all] = [
        await askWatchdog(controlPath, { type: FrameType.thaw, slot: 0 }, REPLY_MS),
        await askWatchdog(controlPath, { type: FrameType.thaw }, REPLY_MS),
      ];
      expect([one?.error, all?.error]).toEqual([0, EINVAL]);
    });
  });

  it('keep their deadline when a single filesystem is reset', async () => {
    await besideFilesystem(60_000, async (guarded, request) => {
      const { page } = guarded;
      openWatch(page);
      await freezeSlot(page, 0, request.mountpointFds[0] ?? -1);
      const { deadlineMs } = readWatch(page);
      const reset = { type: FrameType.reset, slot: 0, timeoutMs: 300_000 };
      expect((await guarded.watchdog.connection.request(reset, REPLY_MS)).error).toBe(0);
      expect(readWatch(page).deadlineMs).toBe(deadlineMs);
    });
  });

  it('leave them to the command when somebody else asks for a thaw', async () => {
    const controlPath = `${disks.directory}/control`;
    const guarded = await guard({ controlPath });
    openWatch(guarded.page);
    const thawed = await askWatchdog(controlPath, { type: FrameType.thaw }, REPLY_MS);
    expect(thawed?.error).toBe(0);
    // Some time in which they might be seen to all the same.
    await sleep(100);
    expect(readWatch(guarded.page).state).toBe(WatchState.open);
  });

  it('leave a program alone whose end was seen', async () => {
    const guarded = await guard();
    openWatch(guarded.page);
    const command = publishStarting(guarded.page);
    const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
    children.push(child);
    publishStarted(guarded.page, command, child.pid ?? 0);
    publishEnded(guarded.page, command);
    guarded.watchdog.connection.destroy();
    await becomes(guarded, WatchState.stuck);
    expect(child.signalCode).toBeNull();
  });

  it('are two: the second keeps the deadline of a watchdog that is stopped', async () => {
    const guarded = await guard({ timeoutMs: 500 });
    process.kill(guarded.watchdog.pids[0] ?? 0, 'SIGSTOP');
    const child = await hanging(guarded);
    expect(await ended(child)).toBe('SIGKILL');
    await becomes(guarded, WatchState.stuck);
  });

  it('are two: the second does the work of a watchdog that was killed', async () => {
    const guarded = await guard();
    const child = await hanging(guarded);
    process.kill(guarded.watchdog.pids[0] ?? 0, 'SIGKILL');
    expect(await ended(child)).toBe('SIGKILL');
    await becomes(guarded, WatchState.stuck);
    expect(readWatch(guarded.page).loss).toBe(lossNumber('guard-died'));
  });

  it('may both be stopped: the command itself does the same', async () => {
    const guarded = await guard();
    const child = await hanging(guarded);
    for (const pid of guarded.watchdog.pids) process.kill(pid, 'SIGSTOP');
    const controlFd = openSync(NO_DEVICE_MAPPER, constants.O_RDWR);
    fds.push(controlFd);
    expect(await settleWatch(guarded.page, controlFd, lossNumber('timeout'))).toBe(WatchState.stuck);
    expect(await ended(child)).toBe('SIGKILL');
  });

  it('let no program begin once the watch is over, and kill one that began meanwhile', async () => {
    const guarded = await guard();
    expect(() => publishStarting(guarded.page)).toThrow(expect.objectContaining({ code: 'ECANCELED' }));
    openWatch(guarded.page);
    const command = publishStarting(guarded.page);
    publish(guarded, WatchState.ended);
    const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
    children.push(child);
    publishStarted(guarded.page, command, child.pid ?? 0);
    expect(await ended(child)).toBe('SIGKILL');
    expect(() => publishStarting(guarded.page)).toThrow(expect.objectContaining({ code: 'ECANCELED' }));
  });

  it('made one thread for the devices, hold device-mapper open, and stay below 2 MB together', async () => {
    const { watchdog } = await guard();
    for (const pid of watchdog.pids) {
      expect(readdirSync(`/proc/${pid}/task`)).toHaveLength(2);
      expect(readlinkSync(`/proc/${pid}/fd/6`)).toBe(NO_DEVICE_MAPPER);
    }
    const pss = watchdog.pids.map((pid) =>
      Number(/^Pss:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]),
    );
    expect(pss.reduce((sum, value) => sum + value)).toBeLessThan(2048);
  });

  it('are not started over a device that cannot be asked for', async () => {
    const runDirectory = process.env['FSBACKUP_RUN_DIR'];
    process.env['FSBACKUP_RUN_DIR'] = `${disks.directory}/run`;
    try {
      const device = { majorMinor: DEVICE, name: 'vg-gone', mountpoints: ['/srv'] };
      await expect(
        armFreezer({ targets: [], devices: [device] }, { timeoutMs: 1000, maxHoldMs: 1000 }),
      ).rejects.toMatchObject({ code: 'notFrozen' });
    } finally {
      if (runDirectory === undefined) delete process.env['FSBACKUP_RUN_DIR'];
      else process.env['FSBACKUP_RUN_DIR'] = runDirectory;
    }
  });

  it('learn of a program before it runs, while it does, and when it has ended', async () => {
    const said: string[] = [];
    const watch = () => {
      said.push('starting');
      return {
        started: (group: number) => said.push(readlinkSync(`/proc/${group}/exe`)),
        ended: () => said.push('ended'),
      };
    };
    await runCommand(['sleep', '0.1'], { watch });
    expect(said).toEqual(['starting', expect.stringMatching(/sleep|coreutils/), 'ended']);
    said.length = 0;
    await runCommand(['no-such-program'], { watch });
    expect(said).toEqual(['starting', 'ended']);
  });
});
