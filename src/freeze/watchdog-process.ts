import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, readFileSync, rmSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import path from 'node:path';
import { FsbackupError, messageOf } from '../errors.js';
import { watchdogEnvironment } from '../system/fault-point.js';
import { inInitialPidNamespace, PID_NAMESPACE_WARNING } from '../system/pid-namespace.js';
import { createMemfd } from '../system/native.js';
import { packageRoot } from '../system/package-root.js';
import { FrameConnection } from './frame-connection.js';
import { endSecond } from './kill-guards.js';
import { FrameType, warningTexts } from './protocol.js';

function builtWatchdog(): string {
  return path.join(packageRoot(), 'native/build/watchdog');
}

/** Shares nothing with our own name, with Node's or with a path: `pkill -f` must not find it by one of these. */
const NEUTRAL_NAME = 'qsentry';
const ARM_TIMEOUT_MS = 10_000;
const QUIT_TIMEOUT_MS = 2000;
const END_TIMEOUT_MS = 2000;

/** A running pair of guards. */
export interface Watchdog {
  connection: FrameConnection;
  pids: readonly number[];
  warnings: readonly string[];
  /** Asks it to thaw what is held, and to end. That there is no answer is no error: it is gone, stopped, or at it. */
  quit(): Promise<void>;
  /** Resolves when both have ended; kills them when they do not by themselves. Only after a thaw. */
  end(): Promise<void>;
  /** Lets it live on without us. */
  release(): void;
}

export interface WatchdogRequest {
  pageFd: number;
  /** The file that says who turned on expedited grace periods, read-write, not locked. */
  expediteFd: number;
  mountpointFds: readonly number[];
  recordFds: readonly number[];
  /** /dev/mapper/control, where the page has devices. */
  deviceControlFd?: number;
  /** Where to listen once detached; empty: nowhere. */
  controlPath: string;
}

/** The program in a memfd: then not even its executable's path names us. */
function loadProgram(): number {
  const program = readFileSync(builtWatchdog());
  const fd = createMemfd();
  for (let written = 0; written < program.length;) written += writeSync(fd, program, written);
  return fd;
}

function start(request: WatchdogRequest, program: string): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [], {
      argv0: NEUTRAL_NAME,
      cwd: '/',
      detached: true,
      env: watchdogEnvironment(),
      stdio: [
        'ignore',
        'ignore',
        'ignore',
        'pipe',
        request.pageFd,
        request.expediteFd,
        ...request.mountpointFds,
        ...request.recordFds,
        ...(request.deviceControlFd === undefined ? [] : [request.deviceControlFd]),
      ],
    });
    child.once('error', reject);
    child.once('spawn', () => resolve(child));
  });
}

async function startFromMemory(
  request: WatchdogRequest,
): Promise<{ child: ChildProcess; warnings: string[] }> {
  const fd = loadProgram();
  try {
    // Through our own table: in the child the number may be another file's by then.
    return { child: await start(request, `/proc/${process.pid}/fd/${fd}`), warnings: [] };
  } catch {
    // No /proc of this namespace, or memfds that may not be executed (vm.memfd_noexec=2).
    const warnings = ['the watchdog runs from its file: a kill by path or name of fsbackup can hit it'];
    return { child: await start(request, builtWatchdog()), warnings };
  } finally {
    closeSync(fd);
  }
}

function exited(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });
}

function notStarted(cause: unknown): FsbackupError {
  const message = `the dead-man could not be started, so nothing was frozen: ${messageOf(cause)}`;
  return new FsbackupError('failed', message, {
    hint: `Check that ${builtWatchdog()} exists and may be executed ("npm run build:native" makes it).`,
    cause,
  });
}

/**
 * Starts the pair of guards over the slots of a page and waits until both watch. Rejects with `failed` when they do
 * not: then nothing was frozen, and nothing is left running.
 */
export async function startWatchdog(request: WatchdogRequest): Promise<Watchdog> {
  const { child, warnings } = await startFromMemory(request).catch((error: unknown) => {
    throw notStarted(error);
  });
  // 'pipe' beyond the first three is a socket pair, in both directions.
  const connection = new FrameConnection(child.stdio[3] as unknown as Socket);
  try {
    const reply = await connection.request(
      { type: FrameType.arm, slotCount: request.mountpointFds.length, controlPath: request.controlPath },
      ARM_TIMEOUT_MS,
    );
    if (reply.error !== 0) throw new Error(`the watchdog could not arm (errno ${reply.error})`);
    return {
      connection,
      pids: [reply.watchdogPid, reply.secondPid],
      warnings: [
        ...warnings,
        ...warningTexts(reply.warnings),
        ...(inInitialPidNamespace() ? [] : [PID_NAMESPACE_WARNING]),
      ],
      async quit() {
        await connection.request({ type: FrameType.quit }, QUIT_TIMEOUT_MS).catch(() => undefined);
      },
      async end() {
        const timer = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
        await exited(child);
        clearTimeout(timer);
        await endSecond(reply.secondPid);
        // Of guards that were killed. The connection has ended with the watchdog, which alone had it.
        rmSync(request.controlPath, { force: true });
      },
      release() {
        connection.destroy();
        child.unref();
      },
    };
  } catch (error) {
    child.kill('SIGKILL');
    connection.destroy();
    rmSync(request.controlPath, { force: true });
    throw notStarted(error);
  }
}
