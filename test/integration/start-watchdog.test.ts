import * as childProcesses from 'node:child_process';
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FrameConnection } from '../../src/freeze/frame-connection.js';
import { startWatchdog, type Watchdog, type WatchdogRequest } from '../../src/freeze/watchdog-process.js';
import * as native from '../../src/system/native.js';
import * as packages from '../../src/system/package-root.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, isGuard } from '../support/freeze-harness.js';
import { timesOpen } from '../support/times-open.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
vi.mock('node:child_process', { spy: true });
vi.mock('../../src/system/native.js', { spy: true });
vi.mock('../../src/system/package-root.js', { spy: true });

const FROM_FILE = 'the watchdog runs from its file: a kill by path or name of fsbackup can hit it';
const PROGRAM = '/memfd:static (deleted)';
const PROTOCOL_ERROR = 71;
const NAME_TAKEN = 98;

/** Over a slot of a directory, which is never frozen. */
describeNeeding(['root'], 'the guards that the command line starts', () => {
  let directory: string;
  let fds: number[];
  let request: WatchdogRequest;
  let started: Watchdog[];

  beforeEach(() => {
    directory = mkdtempSync(path.join(os.tmpdir(), 'guards-'));
    const { fd } = native.createPage(1, 60_000, 60_000);
    fds = [fd];
    request = {
      pageFd: fd,
      expediteFd: open('expedite', constants.O_RDWR | constants.O_CREAT),
      mountpointFds: [open('', constants.O_RDONLY | constants.O_DIRECTORY)],
      recordFds: [open('record', constants.O_RDWR | constants.O_CREAT)],
      controlPath: path.join(directory, 'control'),
    };
    started = [];
  });
  afterEach(async () => {
    vi.resetAllMocks();
    vi.restoreAllMocks();
    for (const guards of started) {
      guards.connection.destroy();
      for (const pid of guards.pids.filter(isGuard)) process.kill(pid, 'SIGCONT');
      await ended(guards);
    }
    for (const fd of fds) closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  function open(name: string, flags: number): number {
    const fd = openSync(path.join(directory, name), flags, 0o600);
    fds.push(fd);
    return fd;
  }

  async function start(): Promise<Watchdog> {
    const guards = await startWatchdog(request);
    started.push(guards);
    return guards;
  }

  async function ended({ pids }: Watchdog): Promise<void> {
    await eventually('the guards to end', () => !pids.some(isGuard));
  }

  function lastChild(): childProcesses.ChildProcess {
    return vi.mocked(childProcesses.spawn).mock.results.at(-1)?.value as childProcesses.ChildProcess;
  }

  it('watch until they are told to end, and nothing is left of them', async () => {
    const guards = await start();
    expect(guards.pids.filter(isGuard)).toHaveLength(2);
    expect(timesOpen(PROGRAM)).toBe(0);
    await guards.quit();
    await ended(guards);
    await guards.end();
    expect(guards.connection.closed).toBe(true);
    expect(existsSync(request.controlPath)).toBe(false);
  });

  it('are killed where they are stopped, and what they listened at is removed', async () => {
    const guards = await start();
    expect(existsSync(request.controlPath)).toBe(true);
    for (const pid of guards.pids) process.kill(pid, 'SIGSTOP');
    await guards.end();
    await ended(guards);
    expect(existsSync(request.controlPath)).toBe(false);
  });

  it('keep this process from nothing once they are released', async () => {
    const guards = await start();
    const unref = vi.spyOn(lastChild(), 'unref');
    guards.release();
    expect(guards.connection.closed).toBe(true);
    expect(unref).toHaveBeenCalledOnce();
  });

  it('run from their file where a program in memory may not be executed, and that is told', async () => {
    const memory = open('memory', constants.O_RDWR | constants.O_CREAT);
    vi.mocked(native.createMemfd).mockReturnValue(memory);
    const guards = await start();
    expect(guards.warnings).toContain(FROM_FILE);
    expect(guards.pids.filter(isGuard)).toHaveLength(2);
    expect(timesOpen(path.join(directory, 'memory'))).toBe(0);
    fds = fds.filter((fd) => fd !== memory);
  });

  it('are a failure where they refuse, and are killed: nothing is left of them', async () => {
    const destroy = vi.spyOn(FrameConnection.prototype, 'destroy');
    const { fd } = native.createPage(2, 60_000, 60_000);
    fds.push(fd);
    await expect(startWatchdog({ ...request, pageFd: fd })).rejects.toMatchObject({
      code: 'failed',
      message: `the dead-man could not be started, so nothing was frozen: the watchdog could not arm (errno ${PROTOCOL_ERROR})`,
    });
    expect(lastChild().killed).toBe(true);
    expect(destroy).toHaveBeenCalled();
  });

  it('are a failure where what they are to listen at is taken, which is freed then', async () => {
    writeFileSync(request.controlPath, '');
    await expect(startWatchdog(request)).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining(`(errno ${NAME_TAKEN})`) as string,
    });
    expect(existsSync(request.controlPath)).toBe(false);
  });

  it('are a failure where their program is missing, and nothing stays open', async () => {
    vi.mocked(packages.packageRoot).mockReturnValue(directory);
    await expect(startWatchdog(request)).rejects.toMatchObject({
      code: 'failed',
      hint: expect.stringContaining(`${directory}/native/build/watchdog exists`) as string,
      cause: { code: 'ENOENT' },
    });
    expect(timesOpen(PROGRAM)).toBe(0);
  });
});
