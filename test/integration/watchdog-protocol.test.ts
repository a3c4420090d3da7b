import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { askWatchdog } from '../../src/freeze/control-client.js';
import type { FrameConnection } from '../../src/freeze/frame-connection.js';
import {
  lockRecord,
  readBootId,
  readStatus,
  writeRecord,
  writeStatus,
} from '../../src/freeze/freeze-record.js';
import { encodeRequest, FrameType, lossNumber, SlotState } from '../../src/freeze/protocol.js';
import { recoverFreezes } from '../../src/freeze/recover-freezes.js';
import { startWatchdog } from '../../src/freeze/watchdog-process.js';
import {
  boottimeMs,
  createPage,
  freezeSlot,
  probeFrozen,
  readPage,
  thaw,
  type PageHandle,
} from '../../src/system/native.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CONTROL_CLIENT = resolve(import.meta.dirname, '../support/control-client.c');
const REPLY_MS = 60_000;
/** Of struct page and struct slot in native/protocol.h. */
const SLOTS_AT = 24;
const THAW_BEGIN_AT = 32;
const NS_PER_MS = 1_000_000;

function sockets(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
    .filter((target) => target.startsWith('socket:'));
}

/** Where a watchdog's own cgroups would be. */
function cgroupDirectories(watchdog: number): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => `${line.split(' ')[4] ?? ''}/qsentry-${watchdog}`);
}

interface Guarded {
  page: PageHandle;
  pageFd: number;
  recordFd: number;
  controlPath: string;
  connection: FrameConnection;
  pids: readonly number[];
}

describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the guards, spoken to by hand', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let fds: number[];
  let pids: number[];
  let connections: FrameConnection[];
  let count = 0;
  const runDirectory = process.env['FSBACKUP_RUN_DIR'];

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    process.env['FSBACKUP_RUN_DIR'] = `${disks.directory}/run`;
    fds = [];
    pids = [];
    connections = [];
  });
  afterEach(async () => {
    for (const connection of connections) connection.destroy();
    for (const fd of fds) closeSync(fd);
    await eventually('the guards to end', () => pids.every((pid) => !isGuard(pid)));
    if (runDirectory === undefined) delete process.env['FSBACKUP_RUN_DIR'];
    else process.env['FSBACKUP_RUN_DIR'] = runDirectory;
  });

  function open(path: string, flags: number): number {
    const fd = openSync(path, flags);
    fds.push(fd);
    return fd;
  }

  /** Guards over one filesystem, this process being the holder. */
  async function guard(
    filesystem: ThrowawayFilesystem,
    { timeoutMs = 60_000, mountpointFd = open(filesystem.mountpoint, constants.O_RDONLY) } = {},
  ): Promise<Guarded> {
    const { fd: pageFd, page } = createPage(1, timeoutMs, 600_000);
    const target = { ...filesystem, device: filesystem.device };
    const recordFd = await lockRecord(target);
    const expediteFd = openSync(`${disks.directory}/expedite`, constants.O_RDWR | constants.O_CREAT, 0o600);
    fds.push(pageFd, recordFd);
    count += 1;
    const controlPath = `${disks.directory}/control-${count}`;
    const watchdog = await startWatchdog({
      pageFd,
      expediteFd,
      mountpointFds: [mountpointFd],
      recordFds: [recordFd],
      controlPath,
    });
    closeSync(expediteFd);
    pids.push(...watchdog.pids);
    connections.push(watchdog.connection);
    writeRecord(recordFd, {
      version: 1,
      mountpoint: filesystem.mountpoint,
      majorMinor: filesystem.majorMinor,
      device: filesystem.device,
      fstype: filesystem.fstype,
      bootId: readBootId(),
      since: new Date().toISOString(),
      timeoutSeconds: timeoutMs / 1000,
      maxHoldSeconds: 600,
      slot: 0,
      controlPath,
      detached: false,
      owner: { pid: process.pid, command: 'test' },
      watchdogPids: watchdog.pids,
    });
    return { page, pageFd, recordFd, controlPath, connection: watchdog.connection, pids: watchdog.pids };
  }

  function stateOf({ page }: Guarded): number | undefined {
    return readPage(page)[0]?.state;
  }

  /** Plays another process of the three: the page is shared memory. */
  function publish({ pageFd }: Guarded, state: number): void {
    writeSync(pageFd, Uint32Array.of(state), 0, 4, SLOTS_AT);
  }

  function publishThawBegin({ pageFd }: Guarded, ms: number): void {
    writeSync(pageFd, BigUint64Array.of(BigInt(Math.round(ms * NS_PER_MS))), 0, 8, SLOTS_AT + THAW_BEGIN_AT);
  }

  async function ends(guarded: Guarded): Promise<void> {
    await eventually('the guards to end', () => guarded.pids.every((pid) => !isGuard(pid)));
  }

  it('the probe of a reset undoes its own freeze when the slot was ended beside it', async () => {
    const fd = open(upper.mountpoint, constants.O_RDONLY);
    const lowerFd = open(lower.mountpoint, constants.O_RDONLY);
    const guarded = await guard(upper, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    thaw(fd);
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    // The probe's FIFREEZE has to write that, and waits for the filesystem below.
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const reset = guarded.connection.request({ type: FrameType.reset, timeoutMs: 60_000 }, REPLY_MS);
    try {
      await eventually('the probe', () => stateOf(guarded) === SlotState.probing);
      // As the second would, had it thawed before that FIFREEZE began.
      publish(guarded, SlotState.thawed);
    } finally {
      thaw(lowerFd);
    }
    expect((await reset).error).not.toBe(0);
    expect(await probeFrozen(fd)).toBe(false);
    guarded.connection.destroy();
  });

  it("leaves no armed record of another's freeze, which recover would take for ours", async () => {
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { mountpointFd: fd });
    await must('fsfreeze', '--freeze', disk.mountpoint);
    try {
      await expect(freezeSlot(guarded.page, 0, fd)).rejects.toMatchObject({ code: 'EBUSY' });
      guarded.connection.destroy();
      await ends(guarded);
      expect(readStatus(guarded.recordFd)).toEqual({ kind: 'thawed' });
      closeSync(guarded.recordFd);
      fds.splice(fds.indexOf(guarded.recordFd), 1);
      await recoverFreezes();
      expect(await probeFrozen(fd)).toBe(true);
    } finally {
      thaw(fd);
    }
  });

  it('leaves no armed record of what was never frozen', async () => {
    const guarded = await guard(disk);
    guarded.connection.destroy();
    await ends(guarded);
    expect(stateOf(guarded)).toBe(SlotState.thawed);
    expect(readStatus(guarded.recordFd)).toEqual({ kind: 'thawed' });
  });

  it('keeps the word on a lost freeze until the next one is armed', async () => {
    const guarded = await guard(disk);
    const at = '2024-01-01T00:00:00.000Z';
    writeStatus(guarded.recordFd, { kind: 'lost', reason: 'timeout', at });
    guarded.connection.destroy();
    await ends(guarded);
    expect(readStatus(guarded.recordFd)).toEqual({ kind: 'lost', reason: 'timeout', at });
  });

  it('takes over a thaw from a process that was stopped between its claim and its call', async () => {
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    publishThawBegin(guarded, boottimeMs());
    publish(guarded, SlotState.thawing);
    const reply = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(reply).toMatchObject({ error: 0, slots: [{ state: SlotState.thawed, thawErrno: 0, loss: 0 }] });
    expect(await probeFrozen(fd)).toBe(false);
    guarded.connection.destroy();
  });

  it('tells of a FITHAW that keeps failing, and goes on trying', async () => {
    // A descriptor on which every ioctl fails.
    const path = open(disk.mountpoint, 0o10_000_000);
    const guarded = await guard(disk, { mountpointFd: path });
    publish(guarded, SlotState.held);
    const reply = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(reply).toMatchObject({ error: 9, slots: [{ state: SlotState.stuck, thawErrno: 9 }] });
    guarded.connection.destroy();
    await eventually('another try', () => {
      if (readPage(guarded.page)[0]?.loss === 0) return false;
      return guarded.pids.every(isGuard);
    });
    publish(guarded, SlotState.thawed);
    await ends(guarded);
  });

  it.each([
    ['a frame that may not be sent', { type: FrameType.arm }],
    ['a slot that is not there', { type: FrameType.status, slot: 1 }],
  ])('%s ends the connection, and with it the freeze', async (_, request) => {
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    await expect(guarded.connection.request(request, REPLY_MS)).rejects.toThrow('closed the connection');
    await ends(guarded);
    expect(readStatus(guarded.recordFd)).toMatchObject({ kind: 'lost', reason: 'holder-died' });
    expect(await probeFrozen(fd)).toBe(false);
  });

  it.each(['reset', 'detach', 'quit', 'arm'] as const)(
    'takes no %s over the control socket while a command holds the freeze',
    async (type) => {
      const fd = open(disk.mountpoint, constants.O_RDONLY);
      const guarded = await guard(disk, { mountpointFd: fd });
      await freezeSlot(guarded.page, 0, fd);
      expect(await askWatchdog(guarded.controlPath, { type: FrameType[type] }, REPLY_MS)).toBeUndefined();
      expect(stateOf(guarded)).toBe(SlotState.held);
      const reply = await guarded.connection.request({ type: FrameType.thaw }, REPLY_MS);
      expect(reply.error).toBe(0);
      guarded.connection.destroy();
    },
  );

  it('answers root alone at the control socket, whatever its mode', async () => {
    const guarded = await guard(disk);
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
    await ends(guarded);
    expect(existsSync(guarded.controlPath)).toBe(false);
  });

  it('answers nobody over a connection that another user made, and keeps no descriptor that it is sent', async () => {
    const guarded = await guard(disk);
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
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    guarded.connection.destroy();
    await ends(guarded);
    expect(readStatus(guarded.recordFd)).toMatchObject({ kind: 'lost', reason: 'holder-died' });
    expect(await probeFrozen(fd)).toBe(false);
  });

  it('a request that is out of order ends its connection', async () => {
    const guarded = await guard(disk);
    const socket = connect(guarded.controlPath);
    const said: Buffer[] = [];
    socket.on('data', (chunk) => said.push(chunk));
    socket.write(encodeRequest({ type: FrameType.status, sequence: 2 }));
    await once(socket, 'close');
    expect(said).toEqual([]);
  });

  it.each([0, 1])('guard %i told to end thaws first, and the holder is told at once', async (which) => {
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    let losses: number[] = [];
    guarded.connection.onEvent = ({ slots }) => {
      losses = slots.map(({ loss }) => loss);
    };
    process.kill(guarded.pids[which] ?? 0, 'SIGTERM');
    await eventually('the thaw', () => stateOf(guarded) === SlotState.thawed);
    expect(readPage(guarded.page)[0]?.loss).toBe(lossNumber('signal'));
    // The second has no word for it: the watchdog tells of that loss when it is next awake.
    if (which === 0) await eventually('the word of it', () => losses.includes(lossNumber('signal')));
  });

  it('a deadline that was moved forward is kept by the second alone', async () => {
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { timeoutMs: 600_000, mountpointFd: fd });
    await freezeSlot(guarded.page, 0, fd);
    const reply = await guarded.connection.request({ type: FrameType.reset, timeoutMs: 2000 }, REPLY_MS);
    expect(reply.error).toBe(0);
    process.kill(guarded.pids[0] ?? 0, 'SIGSTOP');
    try {
      await eventually('the thaw', () => stateOf(guarded) === SlotState.thawed);
      expect(readPage(guarded.page)[0]?.loss).toBe(lossNumber('timeout'));
    } finally {
      process.kill(guarded.pids[0] ?? 0, 'SIGCONT');
    }
  });

  it('what the watchdog would have put away, the second does when it is left alone', async () => {
    const fd = open(disk.mountpoint, constants.O_RDONLY);
    const guarded = await guard(disk, { mountpointFd: fd });
    const [watchdog = 0, second = 0] = guarded.pids;
    // A socket more would keep the connections of a dead watchdog open.
    expect(sockets(second)).toHaveLength(1);
    await must('fsfreeze', '--freeze', disk.mountpoint);
    try {
      await expect(freezeSlot(guarded.page, 0, fd)).rejects.toMatchObject({ code: 'EBUSY' });
      process.kill(watchdog, 'SIGKILL');
      await ends(guarded);
      expect(readStatus(guarded.recordFd)).toEqual({ kind: 'thawed' });
      expect(existsSync(guarded.controlPath)).toBe(false);
      expect(await probeFrozen(fd)).toBe(true);
    } finally {
      thaw(fd);
    }
  });

  it('leaves no cgroup', async () => {
    const guarded = await guard(disk);
    const cgroups = cgroupDirectories(guarded.pids[0] ?? 0);
    expect(cgroups.filter((directory) => existsSync(directory))).not.toEqual([]);
    guarded.connection.destroy();
    await ends(guarded);
    expect(cgroups.filter((directory) => existsSync(directory))).toEqual([]);
  });
});
