import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { askWatchdog } from '../../src/freeze/control-client.js';
import { FrameConnection } from '../../src/freeze/frame-connection.js';
import { decodeReply, encodeRequest, FrameType, MAX_DEVICES } from '../../src/freeze/protocol.js';
import { createPage } from '../../src/system/native.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, isGuard } from '../support/freeze-harness.js';
import { cgroupsOf, GuardsByHand, socketsOf, type Unarmed } from '../support/guards-by-hand.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const REPLY_MS = 60_000;
const ENOENT = 2;
const EIO = 5;
const ECHILD = 10;
const EACCES = 13;
const ENOSYS = 38;
const EPROTO = 71;
const EADDRINUSE = 98;
const ETIMEDOUT = 110;
const WARNINGS = { cgroup: 1, mlock: 2, oom: 4 };
/** Of struct page and struct frame in native/protocol.h. */
const PAGE = { magic: 0, version: 4, slotCount: 8, deviceCount: 12 };
const FRAME = { magic: 0, version: 4, type: 8, sequence: 12, slotCount: 24, controlPath: 64 };
const CONTROL_PATH_END = 172;
/** What makes root one that may not raise hard limits. */
const UNPRIVILEGED = ['setpriv', '--bounding-set=-sys_resource'];
const EXPEDITED = '/sys/kernel/rcu_expedited';

/** What happens before anything can be frozen: whoever is answered with an error finds nothing left of it. */
describeNeeding(['root', 'loop', 'ext4', 'program:cc'], 'guards that start', () => {
  const disks = throwawayDisks(afterAll);
  const hand = new GuardsByHand(disks);
  const isExpedited = readFileSync(EXPEDITED, 'utf8').trim();
  let disk: ThrowawayFilesystem;
  let faultyCall: string;
  let connections: FrameConnection[];

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    faultyCall = `${disks.directory}/faulty-call`;
    const source = resolve(import.meta.dirname, '../support/faulty-call.c');
    await must('cc', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-o', faultyCall, source);
  });
  beforeEach(() => {
    writeFileSync(EXPEDITED, '0');
    connections = [];
    hand.begin();
  });
  afterEach(async () => {
    for (const connection of connections) connection.destroy();
    await hand.end();
    writeFileSync(EXPEDITED, isExpedited);
  });

  /** What makes a system call of both guards go wrong. */
  function faulty(call: string, how: number | 'hang' | 'kill'): { through: string[] } {
    return { through: [faultyCall, call, String(how)] };
  }

  /** The same from the cgroup that everything is in, by which nobody can be ended. */
  function fromRootCgroup({ through }: { through: string[] }): { through: string[] } {
    const script =
      'for at in $(findmnt -nlo TARGET -t cgroup,cgroup2); do echo $$ >$at/cgroup.procs; done; exec "$@"';
    return { through: ['sh', '-c', script, 'sh', ...through] };
  }

  async function armed({ child, socket, arm }: Unarmed) {
    const connection = new FrameConnection(socket);
    connections.push(connection);
    const reply = await connection.request(arm, REPLY_MS);
    expect(reply).toMatchObject({ type: FrameType.arm, error: 0 });
    expect(reply.watchdogPid).toBe(child.pid);
    return { connection, reply, pids: [reply.watchdogPid, reply.secondPid] as const };
  }

  /** The error with which it answers; there is nothing left of it then. */
  async function refusal(
    { child, socket, arm, recordFd, controlPath }: Unarmed,
    request = encodeRequest(arm),
  ): Promise<number> {
    socket.write(request);
    const [said] = (await once(socket, 'data', { signal: AbortSignal.timeout(REPLY_MS) })) as [Buffer];
    const left = {
      name: existsSync(controlPath),
      cgroups: cgroupsOf(child.pid ?? 0),
      mark: readFileSync(`${disks.directory}/expedite`, 'utf8'),
    };
    const { error, type, sequence } = decodeReply(said);
    expect(error).not.toBe(0);
    expect({ type, sequence }).toEqual({
      type: FrameType.arm,
      sequence: request.readUInt32LE(FRAME.sequence),
    });
    expect(left).toEqual({ name: false, cgroups: [], mark: '' });
    expect(await ended(child)).toBe(1);
    hand.close(recordFd);
    hand.close(await hand.lock(disk));
    return error;
  }

  it.each([
    'signalfd4',
    'chdir',
    'getsockopt',
    'pidfd_open',
    'socket',
    'bind',
    'listen',
    'socketpair',
    'clone',
    'eventfd2',
    'timerfd_create',
    'clone3',
  ])('refuse when %s fails, and leave nothing behind', async (call) => {
    expect(await refusal(await hand.unarmed(disk, faulty(call, EIO)))).toBe(EIO);
  });

  it.each(['kill', EIO] as const)(
    'refuse when the second dies in its start, or gives it up: %s',
    async (how) => {
      expect(await refusal(await hand.unarmed(disk, faulty('setsid', how)))).toBe(ECHILD);
    },
  );

  it('end a second that hangs in its start, which would keep the lock', async () => {
    const unarmed = await hand.unarmed(disk, faulty('setsid', 'hang'));
    const pid = unarmed.child.pid ?? 0;
    const refused = refusal(unarmed);
    const second = await eventually('the second', () =>
      Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')),
    );
    try {
      expect(await refused).toBe(ETIMEDOUT);
      expect(isGuard(second)).toBe(false);
    } finally {
      if (isGuard(second)) process.kill(second, 'SIGKILL');
    }
  });

  it.each([
    ['no frame', { at: FRAME.magic, bytes: 4 }],
    ['a frame of another version', { at: FRAME.version, bytes: 4 }],
    ['a request that comes later', { at: FRAME.type, bytes: 4 }],
    ['a frame that others went before', { at: FRAME.sequence, bytes: 4 }],
    ['more slots than there can be', { at: FRAME.slotCount, bytes: 4 }],
    ['a path without an end', { at: FRAME.controlPath, bytes: CONTROL_PATH_END - FRAME.controlPath }],
  ])('refuse %s', async (_, { at, bytes }) => {
    const unarmed = await hand.unarmed(disk);
    const request = encodeRequest(unarmed.arm);
    request.fill(0x77, at, at + bytes);
    expect(await refusal(unarmed, request)).toBe(EPROTO);
  });

  it.each([
    ['that is none', PAGE.magic, 1],
    ['of another version', PAGE.version, 1],
    ['of other slots', PAGE.slotCount, 2],
    ['of more devices than there can be', PAGE.deviceCount, MAX_DEVICES + 1],
  ])('refuse a page %s', async (_, at, value) => {
    const { fd } = createPage(1, 60_000, 60_000);
    writeSync(fd, Uint32Array.of(value), 0, 4, at);
    const unarmed = await hand.unarmed(disk, { pageFd: fd });
    closeSync(fd);
    expect(await refusal(unarmed)).toBe(EPROTO);
  });

  it('refuse a page of nothing', async () => {
    const { fd } = createPage(0, 60_000, 60_000);
    const unarmed = await hand.unarmed(disk, { pageFd: fd });
    closeSync(fd);
    const request = encodeRequest({ ...unarmed.arm, slotCount: 0 });
    expect(await refusal(unarmed, request)).toBe(EPROTO);
  });

  it('refuse a page that is too short to be read', async () => {
    const { fd } = createPage(1, 60_000, 60_000);
    const file = `${disks.directory}/short`;
    writeFileSync(file, readFileSync(`/proc/self/fd/${fd}`));
    closeSync(fd);
    truncateSync(file, 4096);
    expect(await refusal(await hand.unarmed(disk, { pageFd: hand.open(file, constants.O_RDWR) }))).toBe(
      EPROTO,
    );
  });

  it('refuse a page that cannot be written', async () => {
    const { fd } = createPage(1, 60_000, 60_000);
    const readOnly = openSync(`/proc/self/fd/${fd}`, 'r');
    const unarmed = await hand.unarmed(disk, { pageFd: readOnly });
    closeSync(fd);
    closeSync(readOnly);
    expect(await refusal(unarmed)).toBe(EACCES);
  });

  it('refuse to listen where there is no directory', async () => {
    const controlPath = `${disks.directory}/absent/control`;
    expect(await refusal(await hand.unarmed(disk, { controlPath }))).toBe(ENOENT);
  });

  it("refuse to listen at a name that is another's, and leave it", async () => {
    const controlPath = `${disks.directory}/taken`;
    writeFileSync(controlPath, 'mine');
    const unarmed = await hand.unarmed(disk, { controlPath });
    expect(await refusal({ ...unarmed, controlPath: '' })).toBe(EADDRINUSE);
    expect(readFileSync(controlPath, 'utf8')).toBe('mine');
  });

  it('listen nowhere when they are told so', async () => {
    const { pids } = await armed(await hand.unarmed(disk, { controlPath: '' }));
    // To the holder, and to each other.
    expect(pids.map((pid) => socketsOf(pid).length)).toEqual([2, 1]);
    // Nor do they take what has the first number for their listening one.
    expect(pids.map((pid) => readlinkSync(`/proc/${pid}/fd/0`))).toEqual(['/dev/null', '/dev/null']);
  });

  it.each(['nothing', 'half a frame'])('end when the command has said %s, and hangs up', async (what) => {
    const { child, socket, arm } = await hand.unarmed(disk);
    const said = what === 'nothing' ? Buffer.alloc(0) : encodeRequest(arm).subarray(0, 100);
    socket.write(said, () => socket.destroy());
    expect(await ended(child)).toBe(0);
  });

  it('take the first frame in pieces', async () => {
    const unarmed = await hand.unarmed(disk);
    const reply = once(unarmed.socket, 'data');
    for (const [from, to] of [
      [0, 100],
      [100, undefined],
    ] as const) {
      unarmed.socket.write(encodeRequest(unarmed.arm).subarray(from, to));
      await sleep(100);
    }
    expect(decodeReply((await reply)[0] as Buffer).error).toBe(0);
    unarmed.socket.destroy();
    await ended(unarmed.child);
  });

  it.each([
    ['that they are not locked into memory', WARNINGS.mlock, () => faulty('mlockall', EIO)],
    ['that they share the cgroup of others', WARNINGS.cgroup, () => fromRootCgroup(faulty('mkdir', EIO))],
    ['that the OOM killer may choose them', WARNINGS.oom, () => ({ through: UNPRIVILEGED })],
  ])('say %s', async (_, warning, options) => {
    const { reply } = await armed(await hand.unarmed(disk, options()));
    expect(reply.warnings & warning).toBe(warning);
  });

  /** What mounts for both guards, and for nobody else. */
  function mounting(script: string): { through: string[] } {
    const alone = ['unshare', '--mount', '--propagation', 'private'];
    return { through: [...alone, 'sh', '-e', '-c', `cd "${disks.directory}"\n${script}\nexec "$0"`] };
  }

  it('pass over a mount whose line is longer than what they read of one', async () => {
    const deep = Array.from({ length: 12 }, () => 'n'.repeat(200)).join('/');
    const { reply } = await armed(
      await hand.unarmed(disk, mounting(`mkdir -p ${deep}; mount -t tmpfs none ${deep}`)),
    );
    expect(reply.warnings & WARNINGS.cgroup).toBe(0);
  });

  it('enter the same cgroup under many names, of which they know only some', async () => {
    const each = 'for n in $(seq 100); do mkdir cgroup-$n; mount -t cgroup2 none cgroup-$n; done';
    const { reply } = await armed(await hand.unarmed(disk, mounting(each)));
    expect(reply.warnings & WARNINGS.cgroup).toBe(0);
  });

  it.each([
    ['no file tells of mounts and processes', 'umount --lazy /proc', WARNINGS.cgroup | WARNINGS.oom],
    [
      'the mounts of their cgroups lie below others',
      `mkdir -p hidden/one; mount --bind "$(findmnt -nfo TARGET -t cgroup2)" hidden/one
      umount --lazy --recursive /sys/fs/cgroup; mount -t tmpfs none hidden`,
      WARNINGS.cgroup,
    ],
  ])('guard all the same, and say what they lack, where %s', async (_, script, lacking) => {
    const { reply } = await armed(await hand.unarmed(disk, mounting(script)));
    expect(reply.warnings & lacking).toBe(lacking);
  });

  it('are bound by no limit of the command, neither niced nor named as it is, and hold no directory', async () => {
    // The soft ones: to raise the hard ones takes a capability that root need not have.
    const limits = ['prlimit', '--cpu=600:', '--fsize=1000000:', '--memlock=4096:'];
    const { pids } = await armed(
      await hand.unarmed(disk, {
        through: [...limits, 'nice', '-n', '10'],
        args: ['fsbackup', 'node'],
        cwd: disks.directory,
      }),
    );
    // Of this one the hard limit is seldom infinite.
    const lifted = await runCommand(['prlimit', '--memlock=unlimited', 'true']);
    for (const pid of pids) {
      const read = (file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8');
      for (const limit of ['cpu time', 'file size', ...(lifted.exitCode === 0 ? ['locked memory'] : [])])
        expect(read('limits')).toMatch(new RegExp(`^Max ${limit}\\s+unlimited\\s+unlimited`, 'm'));
      // Field 19 of stat: the nice value. The name in parentheses has no spaces.
      expect(read('stat').split(' ')[18]).toBe('-20');
      expect(read('cmdline')).toMatch(/^(?:qsentry|vigil)\0+$/);
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
    }
  });

  it.each([
    ['as many as they may need', ['prlimit', '--nofile=64:'], 256],
    ['as many as they are allowed', ['prlimit', '--nofile=64:128', ...UNPRIVILEGED], 128],
    ['no fewer than the command', ['prlimit', '--nofile=1000:'], 1000],
  ])('may open files: %s', async (_, through, files) => {
    const { pids } = await armed(await hand.unarmed(disk, { through }));
    for (const pid of pids)
      expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(
        new RegExp(`^Max open files\\s+${files}\\s`, 'm'),
      );
  });

  it.each([
    ['', () => []],
    [', nor on a kernel that cannot close many together', () => faulty('close_range', ENOSYS).through],
  ])('keep nothing open that the command had inherited, and they do not need%s', async (_, faults) => {
    const opened = `${disks.directory}/inherited`;
    // The lowest that can be another's, and one beyond what they open themselves.
    const script = `exec 8>"${opened}" 200>"${opened}"; exec "$@"`;
    const through = ['bash', '-c', script, 'bash', ...faults()];
    const { pids } = await armed(await hand.unarmed(disk, { through }));
    for (const pid of pids) {
      const files = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
      expect(files).toContain(disk.mountpoint);
      expect(files).not.toContain(opened);
    }
  });

  it('keep grace periods short until the command asks for what comes after a freeze', async () => {
    const expedited = (): string => readFileSync(EXPEDITED, 'utf8').trim();
    const unarmed = await hand.unarmed(disk);
    const { connection } = await armed(unarmed);
    await connection.request({ type: FrameType.status }, REPLY_MS);
    await askWatchdog(unarmed.controlPath, { type: FrameType.thaw }, REPLY_MS);
    expect(expedited()).toBe('1');
    await connection.request({ type: FrameType.thaw }, REPLY_MS);
    expect(expedited()).toBe('0');
  });

  it("keep the second's number from others as long as it may be signalled, whatever the command ignores", async () => {
    const { pids } = await armed(await hand.unarmed(disk, { through: ['env', '--ignore-signal=CHLD'] }));
    process.kill(pids[1], 'SIGKILL');
    const state = (): string | undefined =>
      /^State:\s*(\w)/m.exec(readFileSync(`/proc/${pids[1]}/status`, 'utf8'))?.[1];
    await eventually('it to be dead', () => state() === 'Z');
  });
});
