import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FrameConnection } from '../../src/freeze/frame-connection.js';
import { lockRecord, readBootId, writeRecord } from '../../src/freeze/freeze-record.js';
import { FrameType, type Request } from '../../src/freeze/protocol.js';
import { startWatchdog } from '../../src/freeze/watchdog-process.js';
import { createPage, readPage, type PageHandle } from '../../src/system/native.js';
import { ended, eventually, isGuard } from './freeze-harness.js';
import { CALLERS_AT } from './page-layout.js';
import type { ThrowawayDisks, ThrowawayFilesystem } from './throwaway-filesystem.js';

const WATCHDOG = resolve(import.meta.dirname, '../../native/build/watchdog');
/** Of struct page and struct slot in native/protocol.h. */
const SLOTS_AT = 24;
const THAW_ERRNO_AT = 12;
const THAW_BEGIN_AT = 32;
const NS_PER_MS = 1_000_000;
const MS_PER_TICK = 10;

/** Guards over a filesystem, whose holder is the process of the test. */
export interface Guarded {
  page: PageHandle;
  pageFd: number;
  mountpointFd: number;
  /** Of all slots. */
  mountpointFds: readonly number[];
  recordFd: number;
  controlPath: string;
  connection: FrameConnection;
  pids: readonly [number, number];
}

export interface GuardOptions {
  timeoutMs?: number;
  maxHoldMs?: number;
  mountpointFd?: number;
  /** More filesystems: the slots after the first. */
  besides?: readonly ThrowawayFilesystem[];
}

/** A watchdog to which nothing was said yet. */
export interface Unarmed {
  child: ChildProcess;
  socket: Socket;
  recordFd: number;
  controlPath: string;
  /** What arms it. */
  arm: Request;
}

/** The sockets that a process has open. */
export function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
    .filter((target) => target.startsWith('socket:'));
}

/** The cgroups that the guards of this watchdog have for themselves. */
export function cgroupsOf(watchdog: number): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => `${line.split(' ')[4] ?? ''}/qsentry-${watchdog}`)
    .filter((directory) => existsSync(directory));
}

/** The processor time that a process has had. */
function busyMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ');
  // Fields 14 and 15: in itself, and in the kernel. The name in parentheses has no spaces.
  return (Number(fields[13]) + Number(fields[14])) * MS_PER_TICK;
}

/** Of 300 ms, those that the busiest of these has had a processor: one that never sleeps has it all the time. */
export async function busiestMs(pids: readonly number[]): Promise<number> {
  const before = pids.map(busyMs);
  await sleep(300);
  return Math.max(...pids.map((pid, index) => busyMs(pid) - (before[index] ?? 0)));
}

/**
 * Starts guards and plays the other processes of the three against them: the command line, which the test is, and, by way
 * of the page, which is shared memory, each of the guards. `begin` before each test, `end` after it.
 */
export class GuardsByHand {
  readonly #disks: ThrowawayDisks;
  readonly #runDirectory = process.env['FSBACKUP_RUN_DIR'];
  #fds: number[] = [];
  #guarded: Guarded[] = [];
  #unarmed: Unarmed[] = [];
  #count = 0;

  constructor(disks: ThrowawayDisks) {
    this.#disks = disks;
  }

  begin(): void {
    process.env['FSBACKUP_RUN_DIR'] = `${this.#disks.directory}/run`;
  }

  /** Hangs up, and waits until the guards have ended. */
  async end(): Promise<void> {
    for (const { connection } of this.#guarded) connection.destroy();
    for (const { socket } of this.#unarmed) socket.destroy();
    for (const fd of this.#fds.splice(0)) closeSync(fd);
    for (const guarded of this.#guarded.splice(0)) await this.ended(guarded);
    for (const { child } of this.#unarmed.splice(0)) await ended(child);
    if (this.#runDirectory === undefined) delete process.env['FSBACKUP_RUN_DIR'];
    else process.env['FSBACKUP_RUN_DIR'] = this.#runDirectory;
  }

  /** Opens a file until the end of the test. */
  open(path: string, flags: number = constants.O_RDONLY): number {
    const fd = openSync(path, flags);
    this.#fds.push(fd);
    return fd;
  }

  /** Closes before the end of the test what was opened until then. */
  close(fd: number): void {
    closeSync(fd);
    this.#fds.splice(this.#fds.indexOf(fd), 1);
  }

  /** Takes the lock of a filesystem until the end of the test, or until it is closed; rejects when somebody has it. */
  async lock({ mountpoint, majorMinor, fstype, device }: ThrowawayFilesystem): Promise<number> {
    const fd = await lockRecord({ mountpoint, majorMinor, fstype, device });
    this.#fds.push(fd);
    return fd;
  }

  /**
   * What is given to `startWatchdog` for one filesystem, and those `besides`; its descriptors are open until the end of
   * the test.
   */
  async request(
    filesystem: ThrowawayFilesystem,
    {
      timeoutMs = 60_000,
      maxHoldMs = 600_000,
      mountpointFd = this.open(filesystem.mountpoint),
      besides = [],
    }: GuardOptions = {},
  ) {
    const { fd: pageFd, page } = createPage(1 + besides.length, timeoutMs, maxHoldMs);
    this.#fds.push(pageFd);
    const mountpointFds = [mountpointFd, ...besides.map(({ mountpoint }) => this.open(mountpoint))];
    const recordFds: number[] = [];
    for (const locked of [filesystem, ...besides]) recordFds.push(await this.lock(locked));
    const expediteFd = this.open(`${this.#disks.directory}/expedite`, constants.O_RDWR | constants.O_CREAT);
    this.#count += 1;
    const controlPath = `${this.#disks.directory}/control-${this.#count}`;
    return {
      page,
      request: { pageFd, expediteFd, mountpointFds, recordFds, controlPath },
    };
  }

  /** Guards over one filesystem, which is armed and not frozen, and those `besides`, which are on no record. */
  async guard(filesystem: ThrowawayFilesystem, options: GuardOptions = {}): Promise<Guarded> {
    const { page, request } = await this.request(filesystem, options);
    const { pageFd, controlPath, expediteFd, mountpointFds, recordFds } = request;
    const [recordFd = -1] = recordFds;
    const { connection, pids } = await startWatchdog(request);
    this.close(expediteFd);
    const [watchdog = 0, second = 0] = pids;
    const guarded: Guarded = {
      page,
      pageFd,
      mountpointFd: mountpointFds[0] ?? -1,
      mountpointFds,
      recordFd,
      controlPath,
      connection,
      pids: [watchdog, second],
    };
    this.#guarded.push(guarded);
    writeRecord(recordFd, {
      version: 1,
      mountpoint: filesystem.mountpoint,
      majorMinor: filesystem.majorMinor,
      device: filesystem.device,
      fstype: filesystem.fstype,
      bootId: readBootId(),
      since: new Date().toISOString(),
      timeoutSeconds: (options.timeoutMs ?? 60_000) / 1000,
      maxHoldSeconds: 600,
      slot: 0,
      controlPath,
      detached: false,
      owner: { pid: process.pid, command: 'test' },
      watchdogPids: pids,
    });
    return guarded;
  }

  /** Starts a watchdog as `startWatchdog` does. `through`: programs that become each other, and the watchdog in the end. */
  async unarmed(
    filesystem: ThrowawayFilesystem,
    options: {
      through?: readonly string[];
      args?: readonly string[];
      cwd?: string;
      pageFd?: number;
      controlPath?: string;
    } = {},
  ): Promise<Unarmed> {
    const { request } = await this.request(filesystem);
    const { expediteFd, mountpointFds, recordFds } = request;
    const { pageFd, controlPath } = { ...request, ...options };
    const [program = '', ...args] = [...(options.through ?? []), WATCHDOG, ...(options.args ?? [])];
    const child = spawn(program, args, {
      cwd: options.cwd ?? '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', pageFd, expediteFd, ...mountpointFds, ...recordFds],
    });
    await once(child, 'spawn');
    const [recordFd = -1] = recordFds;
    const arm = { type: FrameType.arm, sequence: 1, slotCount: mountpointFds.length, controlPath };
    const socket = child.stdio[3] as unknown as Socket;
    const unarmed = { child, socket, recordFd, controlPath, arm };
    this.#unarmed.push(unarmed);
    return unarmed;
  }

  stateOf({ page }: Guarded): number | undefined {
    return readPage(page)[0]?.state;
  }

  /** Says in the page what another process of the three would say. */
  publish({ pageFd }: Pick<Guarded, 'pageFd'>, state: number): void {
    writeSync(pageFd, Uint32Array.of(state), 0, 4, SLOTS_AT);
  }

  publishThawBegin({ pageFd }: Guarded, ms: number): void {
    writeSync(pageFd, BigUint64Array.of(BigInt(Math.round(ms * NS_PER_MS))), 0, 8, SLOTS_AT + THAW_BEGIN_AT);
  }

  /** Says that this thread of the test is the one that calls FIFREEZE. */
  publishCaller({ pageFd }: Guarded, thread: number): void {
    writeSync(pageFd, Int32Array.of(thread), 0, 4, CALLERS_AT);
  }

  publishThawErrno({ pageFd }: Guarded, errno: number): void {
    writeSync(pageFd, Int32Array.of(errno), 0, 4, SLOTS_AT + THAW_ERRNO_AT);
  }

  /** Waits until both guards have ended. */
  async ended({ pids }: Guarded): Promise<void> {
    await eventually('the guards to end', () => pids.every((pid) => !isGuard(pid)));
  }
}
