import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errnoOf } from '../../../src/errors.js';
import { askWatchdog, isListenedTo } from '../../../src/freeze/control-client.js';
import { NoReply } from '../../../src/freeze/frame-connection.js';
import { isStopped } from '../../../src/freeze/kill-guards.js';
import { FrameType } from '../../../src/freeze/protocol.js';
import { eventually } from '../../support/freeze-harness.js';
import { guardFrame, sequenceOf } from '../../support/guard-replies.js';

const LONG_MS = 60_000;
const STATUS = { type: FrameType.status };

let directory: string;
let control: string;
let server: Server | undefined;
let sockets: Socket[];

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'control-'));
  control = path.join(directory, 'control');
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  server = undefined;
  rmSync(directory, { recursive: true });
});

/** Listens as a guard does; `answer` is told how many have connected. */
async function listen(answer: (socket: Socket, request: Buffer, nth: number) => void): Promise<void> {
  const listening = createServer((socket) => {
    const nth = sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (request: Buffer) => answer(socket, request, nth));
  });
  server = listening;
  await new Promise<void>((resolve) => listening.listen(control, resolve));
}

function reply(socket: Socket, request: Buffer): void {
  socket.write(guardFrame(FrameType.status, sequenceOf(request), 1));
}

/** Binds the socket in a process that is then killed, as guards are. */
function leaveSocket(): void {
  const program = `require('node:net').createServer().listen(${JSON.stringify(control)}, () => process.kill(process.pid, 'SIGKILL'))`;
  expect(spawnSync(process.execPath, ['-e', program]).signal).toBe('SIGKILL');
}

it('gets the answer, and hangs up', async () => {
  await listen(reply);
  expect(await askWatchdog(control, STATUS, LONG_MS)).toMatchObject({ warnings: 1 });
  await expect.poll(() => sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
});

it('finds that nobody listens, whether or not a socket was left', async () => {
  expect(await askWatchdog(control, STATUS, LONG_MS)).toBeUndefined();
  expect(await isListenedTo(control)).toBe(false);
  leaveSocket();
  expect(await askWatchdog(control, STATUS, LONG_MS)).toBeUndefined();
  expect(await isListenedTo(control)).toBe(false);
});

it('says of a socket that is listened to that it is, and leaves nothing connected', async () => {
  await listen(reply);
  expect(await isListenedTo(control)).toBe(true);
  await expect.poll(() => sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
});

it('does not take what cannot be asked for one that nobody listens to', async () => {
  const none = path.join('/proc/self/cmdline', 'control');
  await expect(isListenedTo(none)).rejects.toMatchObject({ code: 'ENOTDIR' });
  await expect(askWatchdog(none, STATUS, LONG_MS)).rejects.toMatchObject({ code: 'ENOTDIR' });
});

it('asks again where a guard hangs up, which has as many connections as it can', async () => {
  await listen((socket, request, nth) => {
    if (nth < 3) socket.destroy();
    else reply(socket, request);
  });
  const begun = performance.now();
  expect(await askWatchdog(control, STATUS, LONG_MS)).toMatchObject({ warnings: 1 });
  expect(sockets).toHaveLength(3);
  // It does not hammer at the guard.
  expect(performance.now() - begun).toBeGreaterThan(90);
});

it('gives up on one that hangs up each time, unless it may answer', async () => {
  await listen((socket) => void socket.destroy());
  await expect(askWatchdog(control, STATUS, LONG_MS)).rejects.toBeInstanceOf(NoReply);
  const enough = 2 * sockets.length + 5;
  await expect(askWatchdog(control, STATUS, LONG_MS, () => sockets.length < enough)).rejects.toBeInstanceOf(
    NoReply,
  );
  expect(sockets.length).toBe(enough);
});

it('gives up on one that does not answer in time', async () => {
  await listen(() => undefined);
  await expect(askWatchdog(control, STATUS, 10)).rejects.toBeInstanceOf(NoReply);
  await expect.poll(() => sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
});

it('waits longer for one that may answer', async () => {
  let looks = 0;
  await listen((socket, request) => {
    setTimeout(() => reply(socket, request), 150);
  });
  expect(await askWatchdog(control, STATUS, 10, () => (looks += 1) > 0)).toMatchObject({ warnings: 1 });
  // It looks now and then, not all the time.
  expect(looks).toBeLessThan(10);
});

it('rejects what is no request', async () => {
  await listen(reply);
  await expect(
    askWatchdog(control, { type: FrameType.arm, controlPath: 'x'.repeat(108) }, LONG_MS),
  ).rejects.toBeInstanceOf(RangeError);
});

describe('one that is stopped, where as many wait already as may', () => {
  let deaf: ChildProcess;
  let waiting: Socket[];

  beforeEach(async () => {
    waiting = [];
    const program = `require('node:net').createServer().listen({ path: ${JSON.stringify(control)}, backlog: 1 }, () => {
      console.log('listening');
      process.kill(process.pid, 'SIGSTOP');
    })`;
    deaf = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(deaf.stdout ?? deaf, 'data');
    await eventually('it to be stopped', () => isStopped(deaf.pid ?? 0));
    for (let isFull = false; !isFull;) isFull = (await join()) === 'EAGAIN';
  });
  afterEach(async () => {
    for (const socket of waiting) socket.destroy();
    const exited = once(deaf, 'exit');
    deaf.kill('SIGKILL');
    await exited;
  });

  async function join(): Promise<string | undefined> {
    const socket = connect(control);
    waiting.push(socket);
    return await new Promise((resolve) => {
      socket.once('connect', () => resolve(undefined));
      socket.once('error', (error) => resolve(errnoOf(error)));
    });
  }

  it('is there', async () => {
    expect(await isListenedTo(control)).toBe(true);
  });

  it('is given up in time, or once it cannot answer any more', async () => {
    await expect(askWatchdog(control, STATUS, 10)).rejects.toBeInstanceOf(NoReply);
    let looks = 0;
    const begun = performance.now();
    await expect(askWatchdog(control, STATUS, 10, () => (looks += 1) < 4)).rejects.toBeInstanceOf(NoReply);
    expect(looks).toBe(4);
    // It does not hammer at the socket.
    expect(performance.now() - begun).toBeGreaterThan(140);
  });
});
