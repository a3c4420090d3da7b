import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { askWatchdog } from '../../src/freeze/control-client.js';
import { NoReply } from '../../src/freeze/frame-connection.js';
import { readStatus, writeStatus } from '../../src/freeze/freeze-record.js';
import { encodeRequest, FrameType, lossNumber, SlotState } from '../../src/freeze/protocol.js';
import { recoverFreezes } from '../../src/freeze/recover-freezes.js';
import { boottimeMs, freezeSlot, probeFrozen, readPage, thawInBackground } from '../../src/system/native.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, isGuard } from '../support/freeze-harness.js';
import { cgroupsOf, GuardsByHand, socketsOf } from '../support/guards-by-hand.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CONTROL_CLIENT = resolve(import.meta.dirname, '../support/control-client.c');
const REPLY_MS = 60_000;

describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the guards, spoken to by hand', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  const hand = new GuardsByHand(disks);

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => hand.begin());
  afterEach(() => hand.end());

  it('the probe of a reset undoes its own freeze when the slot was ended beside it', async () => {
    const fd = hand.open(upper.mountpoint);
    const lowerFd = hand.open(lower.mountpoint);
    const guarded = await hand.guard(upper, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    await thawInBackground(fd);
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    // The probe's FIFREEZE has to write that, and waits for the filesystem below.
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const reset = guarded.connection.request({ type: FrameType.reset, timeoutMs: 60_000 }, REPLY_MS);
    try {
      await eventually('the probe', () => hand.stateOf(guarded) === SlotState.probing);
      // As the second would, had it thawed before that FIFREEZE began.
      hand.publish(guarded, SlotState.thawed);
    } finally {
      await thawInBackground(lowerFd);
    }
    expect((await reset).error).not.toBe(0);
    expect(await probeFrozen(fd)).toBe(false);
    guarded.connection.destroy();
  });

  it("leaves no armed record of another's freeze, which recover would take for ours", async () => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { mountpointFd: fd });
    await must('fsfreeze', '--freeze', disk.mountpoint);
    try {
      await expect(freezeSlot(guarded.page, 0, fd)).rejects.toMatchObject({ code: 'EBUSY' });
      guarded.connection.destroy();
      await hand.ended(guarded);
      expect(readStatus(guarded.recordFd)).toEqual({ kind: 'thawed' });
      hand.close(guarded.recordFd);
      await recoverFreezes();
      expect(await probeFrozen(fd)).toBe(true);
    } finally {
      await thawInBackground(fd);
    }
  });

  it('leaves no armed record of what was never frozen', async () => {
    const guarded = await hand.guard(disk);
    guarded.connection.destroy();
    await hand.ended(guarded);
    expect(hand.stateOf(guarded)).toBe(SlotState.thawed);
    expect(readStatus(guarded.recordFd)).toEqual({ kind: 'thawed' });
  });

  it('keeps the word on a lost freeze until the next one is armed', async () => {
    const guarded = await hand.guard(disk);
    const at = '2024-01-01T00:00:00.000Z';
    writeStatus(guarded.recordFd, { kind: 'lost', reason: 'timeout', at });
    guarded.connection.destroy();
    await hand.ended(guarded);
    expect(readStatus(guarded.recordFd)).toEqual({ kind: 'lost', reason: 'timeout', at });
  });

  it('takes over a thaw from a process that was stopped between its claim and its call', async () => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    hand.publishThawBegin(guarded, boottimeMs());
    hand.publish(guarded, SlotState.thawing);
    const reply = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(reply).toMatchObject({ error: 0, slots: [{ state: SlotState.thawed, thawErrno: 0, loss: 0 }] });
    expect(await probeFrozen(fd)).toBe(false);
    guarded.connection.destroy();
  });

  it('tells of a FITHAW that keeps failing, and goes on trying', async () => {
    // A descriptor on which every ioctl fails.
    const path = hand.open(disk.mountpoint, 0o10_000_000);
    const guarded = await hand.guard(disk, { mountpointFd: path });
    hand.publish(guarded, SlotState.held);
    const reply = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(reply).toMatchObject({ error: 9, slots: [{ state: SlotState.stuck, thawErrno: 9 }] });
    hand.publishThawErrno(guarded, 0);
    await eventually('another try', () => readPage(guarded.page)[0]?.thawErrno === 9);
    expect(guarded.pids.every(isGuard)).toBe(true);
    guarded.connection.destroy();
    hand.publish(guarded, SlotState.thawed);
    await hand.ended(guarded);
  });

  it.each([
    ['a frame that may not be sent', { type: FrameType.arm }],
    ['a slot that is not there', { type: FrameType.status, slot: 1 }],
  ])('%s ends the connection, and with it the freeze', async (_, request) => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    await expect(guarded.connection.request(request, REPLY_MS)).rejects.toThrow('closed the connection');
    await hand.ended(guarded);
    expect(readStatus(guarded.recordFd)).toMatchObject({ kind: 'lost', reason: 'holder-died' });
    expect(await probeFrozen(fd)).toBe(false);
  });

  it.each(['reset', 'detach', 'quit', 'arm'] as const)(
    'takes no %s over the control socket while a command holds the freeze',
    async (type) => {
      const fd = hand.open(disk.mountpoint);
      const guarded = await hand.guard(disk, { mountpointFd: fd });
      await freezeSlot(guarded.page, 0, fd);
      const asked = askWatchdog(guarded.controlPath, { type: FrameType[type] }, REPLY_MS);
      await expect(asked).rejects.toThrow(NoReply);
      expect(hand.stateOf(guarded)).toBe(SlotState.held);
      const reply = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
      expect(reply.error).toBe(0);
      guarded.connection.destroy();
    },
  );

  it('answers root alone at the control socket, whatever its mode', async () => {
    const guarded = await hand.guard(disk);
    chmodSync(guarded.controlPath, 0o666);
    chmodSync(disks.directory, 0o755);
    const asks = `require('node:net').connect(process.argv[1]).on('error', () => process.exit(3)).on('close', () => process.exit(7))`;
    const stranger = spawn(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '-e', asks, guarded.controlPath],
      { stdio: 'ignore', cwd: '/' },
    );
    expect(await ended(stranger)).toBe(7);
    const reply = await askWatchdog(guarded.controlPath, { type: FrameType.status }, REPLY_MS);
    expect(reply?.slots).toHaveLength(1);
    guarded.connection.destroy();
    await hand.ended(guarded);
    expect(existsSync(guarded.controlPath)).toBe(false);
  });

  it('answers nobody over a connection that another user made, and keeps no descriptor that it is sent', async () => {
    const guarded = await hand.guard(disk);
    const client = `${disks.directory}/control-client`;
    await must('cc', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-o', client, CONTROL_CLIENT);
    chmodSync(guarded.controlPath, 0o666);
    chmodSync(disks.directory, 0o755);
    const request = encodeRequest({ type: FrameType.status, sequence: 1 });
    const ask = async (how: string): Promise<string> => {
      const { stdout, stderr, exitCode } = await runCommand([client, how, guarded.controlPath], {
        input: request,
        timeoutMs: 60_000,
      });
      expect(exitCode, stderr).toBe(0);
      return stdout.trim();
    };
    expect(await ask('strangers-connection')).toBe('0');
    const descriptors = (): string[] => guarded.pids.flatMap((pid) => readdirSync(`/proc/${pid}/fd`));
    const before = descriptors();
    expect(await ask('with-descriptors')).toBe(String(request.length));
    // The connection itself is gone once its end was read.
    await eventually('the connection to end', () => descriptors().length <= before.length);
    expect(descriptors()).toEqual(before);
    guarded.connection.destroy();
  });

  it('a command that hangs up without dying is a command that is gone', async () => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    guarded.connection.destroy();
    await hand.ended(guarded);
    expect(readStatus(guarded.recordFd)).toMatchObject({ kind: 'lost', reason: 'holder-died' });
    expect(await probeFrozen(fd)).toBe(false);
  });

  it('a request that is out of order ends its connection', async () => {
    const guarded = await hand.guard(disk);
    const socket = connect(guarded.controlPath);
    const said: Buffer[] = [];
    socket.on('data', (chunk) => said.push(chunk));
    socket.write(encodeRequest({ type: FrameType.status, sequence: 2 }));
    await once(socket, 'close');
    expect(said).toEqual([]);
  });

  it.each([0, 1])('guard %i told to end thaws first, and the holder is told at once', async (which) => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    let losses: number[] = [];
    guarded.connection.onEvent = ({ slots }) => {
      losses = slots.map(({ loss }) => loss);
    };
    process.kill(guarded.pids[which] ?? 0, 'SIGTERM');
    await eventually('the thaw', () => hand.stateOf(guarded) === SlotState.thawed);
    expect(readPage(guarded.page)[0]?.loss).toBe(lossNumber('signal'));
    // The second has no word for it: the watchdog tells of that loss when it is next awake.
    if (which === 0) await eventually('the word of it', () => losses.includes(lossNumber('signal')));
  });

  it('a deadline that was moved forward is kept by the second alone', async () => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { timeoutMs: 600_000, mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    const reply = await guarded.connection.request({ type: FrameType.reset, timeoutMs: 2000 }, REPLY_MS);
    expect(reply.error).toBe(0);
    process.kill(guarded.pids[0], 'SIGSTOP');
    try {
      await eventually('the thaw', () => hand.stateOf(guarded) === SlotState.thawed);
      expect(readPage(guarded.page)[0]?.loss).toBe(lossNumber('timeout'));
    } finally {
      process.kill(guarded.pids[0], 'SIGCONT');
    }
  });

  it('what the watchdog would have put away, the second does when it is left alone', async () => {
    const fd = hand.open(disk.mountpoint);
    const guarded = await hand.guard(disk, { mountpointFd: fd });
    const [watchdog, second] = guarded.pids;
    // A socket more would keep the connections of a dead watchdog open.
    expect(socketsOf(second)).toHaveLength(1);
    await must('fsfreeze', '--freeze', disk.mountpoint);
    try {
      await expect(freezeSlot(guarded.page, 0, fd)).rejects.toMatchObject({ code: 'EBUSY' });
      process.kill(watchdog, 'SIGKILL');
      await hand.ended(guarded);
      expect(readStatus(guarded.recordFd)).toEqual({ kind: 'thawed' });
      expect(existsSync(guarded.controlPath)).toBe(false);
      expect(cgroupsOf(watchdog)).toEqual([]);
      expect(await probeFrozen(fd)).toBe(true);
    } finally {
      await thawInBackground(fd);
    }
  });

  it('leaves no cgroup', async () => {
    const guarded = await hand.guard(disk);
    expect(cgroupsOf(guarded.pids[0])).not.toEqual([]);
    guarded.connection.destroy();
    await hand.ended(guarded);
    expect(cgroupsOf(guarded.pids[0])).toEqual([]);
  });
});
