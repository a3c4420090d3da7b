import { connect, type Socket } from 'node:net';
import { errnoOf } from '../errors.js';
import { ConnectionClosed, FrameConnection } from './frame-connection.js';
import type { Reply, Request } from './protocol.js';

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Whether anybody listens at a control socket. */
export async function isListenedTo(controlPath: string): Promise<boolean> {
  try {
    (await open(controlPath)).destroy();
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED') return false;
    throw error;
  }
}

/**
 * One request to the watchdog that owns a detached freeze. Undefined when nobody listens there: the freeze is over, or
 * its guards are dead. Rejects with NoReply when the guard is stopped.
 */
export async function askWatchdog(
  controlPath: string,
  request: Omit<Request, 'sequence'>,
  timeoutMs: number,
): Promise<Reply | undefined> {
  let socket: Socket;
  try {
    socket = await open(controlPath);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED') return undefined;
    throw error;
  }
  const connection = new FrameConnection(socket);
  try {
    return await connection.request(request, timeoutMs);
  } catch (error) {
    if (error instanceof ConnectionClosed) return undefined;
    throw error;
  } finally {
    connection.destroy();
  }
}
