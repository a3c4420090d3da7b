import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../errors.js';
import { ConnectionClosed, FrameConnection, NO_LIMIT_MS, NoReply } from './frame-connection.js';
import type { Reply, Request } from './protocol.js';
import { within } from './within.js';

/** How often it is looked at whether an answer may still come, and how soon it is asked again. */
const LOOK_MS = 50;
/** That often it is asked again whatever the guard does. */
const MAX_HANG_UPS = 20;

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Whether as many wait already as may: unix(7). One that hung up goes on waiting until a guard that is stopped goes on. */
function isFull(error: unknown): boolean {
  return errnoOf(error) === 'EAGAIN';
}

/** Whether anybody listens at a control socket. */
export async function isListenedTo(controlPath: string): Promise<boolean> {
  try {
    (await open(controlPath)).destroy();
    return true;
  } catch (error) {
    if (isFull(error)) return true;
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED') return false;
    throw error;
  }
}

const never = (): boolean => false;

/**
 * One request over a connection of its own. Undefined when that is closed without an answer. Rejects with NoReply when
 * there is none within `timeoutMs`, and none later for as long as `mayAnswer`.
 */
async function askOver(
  connection: FrameConnection,
  request: Omit<Request, 'sequence'>,
  timeoutMs: number,
  mayAnswer: () => boolean,
): Promise<Reply | undefined> {
  const reply = connection.request(request, NO_LIMIT_MS).catch((error: unknown) => {
    if (error instanceof ConnectionClosed) return undefined;
    throw error;
  });
  const answered = reply.then(
    () => true,
    () => true,
  );
  let isAnswered = await within(timeoutMs, answered);
  while (!isAnswered && mayAnswer()) isAnswered = await within(LOOK_MS, answered);
  if (!isAnswered) throw new NoReply(timeoutMs);
  return await reply;
}

/**
 * One request to the watchdog that owns a detached freeze. Undefined when nobody listens there: the freeze is over, or
 * its guards are dead. Rejects with NoReply when there is no answer within `timeoutMs`, and none later for as long as
 * `mayAnswer`: the guard is stopped. To be asked more than once does no harm, and happens: a guard that has as many
 * connections as it can hangs up.
 */
export async function askWatchdog(
  controlPath: string,
  request: Omit<Request, 'sequence'>,
  timeoutMs: number,
  mayAnswer: () => boolean = never,
): Promise<Reply | undefined> {
  const giveUpAt = performance.now() + timeoutMs;
  for (let hangUps = 1; ; hangUps += 1) {
    let socket: Socket;
    try {
      socket = await open(controlPath);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED') return undefined;
      if (!isFull(error)) throw error;
      if (performance.now() > giveUpAt && !mayAnswer()) throw new NoReply(timeoutMs);
      await sleep(LOOK_MS);
      continue;
    }
    const connection = new FrameConnection(socket);
    try {
      const reply = await askOver(connection, request, timeoutMs, mayAnswer);
      if (reply !== undefined) return reply;
    } finally {
      connection.destroy();
    }
    if (hangUps >= MAX_HANG_UPS && !mayAnswer()) throw new NoReply(timeoutMs);
    await sleep(LOOK_MS);
  }
}
