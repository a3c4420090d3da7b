import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { askWatchdog, isListenedTo } from '../../../src/freeze/control-client.js';
import { NoReply } from '../../../src/freeze/frame-connection.js';
import { FrameType } from '../../../src/freeze/protocol.js';
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
