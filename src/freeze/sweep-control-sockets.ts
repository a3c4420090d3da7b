import { readdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { runDirectory } from '../system/directories.js';
import { isListenedTo } from './control-client.js';

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}

/**
 * Removes the control sockets of dead guards: a watchdog that was killed before it had a second has nobody who does it.
 * One of a living command line, whose pid it is named after, may be about to be listened to. Idempotent; what cannot be
 * asked or removed stays.
 */
export async function sweepControlSockets(directory = path.join(runDirectory(), 'control')): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const [, pid] = /^(\d+)-[0-9a-z]+$/.exec(name) ?? [];
    const socket = path.join(directory, name);
    if (pid === undefined || isAlive(Number(pid))) continue;
    if (await isListenedTo(socket).catch(() => true)) continue;
    await unlink(socket).catch(() => undefined);
  }
}
