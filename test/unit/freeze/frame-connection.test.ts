import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionClosed, FrameConnection } from '../../../src/freeze/frame-connection.js';
import { FRAME_SIZE, FrameType, type Reply } from '../../../src/freeze/protocol.js';
import { guardFrame, sequenceOf } from '../../support/guard-replies.js';

const LONG_MS = 60_000;
const STATUS = { type: FrameType.status };

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

describe('a connection to a guard', () => {
  let directory: string;
  let server: Server;
  let guard: Socket;
  let socket: Socket;
  let connection: FrameConnection;

  beforeEach(async () => {
    directory = mkdtempSync(path.join(os.tmpdir(), 'frames-'));
    server = createServer({ allowHalfOpen: true });
    const file = path.join(directory, 'guard');
    await new Promise<void>((resolve) => server.listen(file, resolve));
    socket = connect(file);
    [guard] = (await once(server, 'connection')) as [Socket];
    connection = new FrameConnection(socket);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    connection.destroy();
    guard.destroy();
    server.close();
    rmSync(directory, { recursive: true });
  });

  /** The next `count` requests that the guard reads. */
  async function received(count: number): Promise<Buffer[]> {
    const requests: Buffer[] = [];
    while (requests.length < count) {
      const request = guard.read(FRAME_SIZE) as Buffer | null;
      if (request === null) await once(guard, 'readable');
      else requests.push(request);
    }
    return requests;
  }

  it('gives to each request its own answer, in whatever order and pieces they come', async () => {
    const replies = Promise.all([1, 2].map(() => connection.request(STATUS, LONG_MS)));
    const [first = -1, second = -1] = (await received(2)).map(sequenceOf);
    expect(first).not.toBe(second);
    const answers = Buffer.concat([guardFrame(2, second, 2), guardFrame(1, first, 1)]);
    guard.write(answers.subarray(0, FRAME_SIZE - 1));
    await new Promise((resolve) => setImmediate(resolve));
    guard.write(answers.subarray(FRAME_SIZE - 1));
    expect((await replies).map(({ warnings }) => warnings)).toEqual([1, 2]);
    expect(connection.closed).toBe(false);
  });

  it('tells of an event, which answers nothing', async () => {
    const events: Reply[] = [];
    connection.onEvent = (event) => void events.push(event);
    const reply = connection.request(STATUS, LONG_MS);
    const [request = Buffer.alloc(0)] = await received(1);
    guard.write(guardFrame(FrameType.event, sequenceOf(request), 4));
    guard.write(guardFrame(FrameType.status, sequenceOf(request), 1));
    expect((await reply).warnings).toBe(1);
    expect(events.map(({ warnings }) => warnings)).toEqual([4]);
  });

  it('waits no longer than it may, drops what comes later, and keeps nothing', async () => {
    const before = timers();
    await expect(connection.request(STATUS, 1)).rejects.toMatchObject({
      name: 'NoReply',
      message: 'the watchdog did not answer within 1 ms',
    });
    const reply = connection.request(STATUS, LONG_MS);
    const [late = -1, next = -1] = (await received(2)).map(sequenceOf);
    guard.write(Buffer.concat([guardFrame(1, late, 1), guardFrame(1, next, 2)]));
    expect((await reply).warnings).toBe(2);
    expect(timers()).toBe(before);
  });

  it('rejects what waits, and what comes after, when the guard hangs up: told once', async () => {
    let times = 0;
    connection.onClose = () => void (times += 1);
    // More than there is room for on the way: a guard that is stopped reads nothing.
    const waiting = Array.from({ length: 300 }, () => connection.request(STATUS, LONG_MS));
    guard.end();
    for (const one of await Promise.allSettled(waiting))
      expect(one).toMatchObject({ status: 'rejected', reason: { name: 'ConnectionClosed' } });
    expect(connection.closed).toBe(true);
    await expect(connection.request(STATUS, LONG_MS)).rejects.toMatchObject({ name: 'ConnectionClosed' });
    connection.destroy();
    expect(times).toBe(1);
  });

  it('is closed as soon as we hang up', async () => {
    connection.destroy();
    expect(connection.closed).toBe(true);
    await expect(connection.request(STATUS, LONG_MS)).rejects.toBeInstanceOf(ConnectionClosed);
  });

  it('hangs up on what speaks another language', async () => {
    const reply = connection.request(STATUS, LONG_MS);
    await received(1);
    guard.write(Buffer.alloc(FRAME_SIZE, 1));
    await expect(reply).rejects.toBeInstanceOf(ConnectionClosed);
    if (!guard.readableEnded) await once(guard.resume(), 'end');
  });

  it('takes a broken connection for one that was closed', async () => {
    const reply = connection.request(STATUS, LONG_MS);
    await received(1);
    socket.destroy(new Error('broken'));
    await expect(reply).rejects.toBeInstanceOf(ConnectionClosed);
  });
});
