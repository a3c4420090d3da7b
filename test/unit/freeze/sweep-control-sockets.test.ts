import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sweepControlSockets } from '../../../src/freeze/sweep-control-sockets.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'control-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A pid that was somebody's and is nobody's now. */
function deadPid(): number {
  return spawnSync('true').pid;
}

/** Binds a socket in a process that is then killed, as a watchdog is: its name stays. */
function leaveSocket(name: string): void {
  const program = `require('node:net').createServer().listen(${JSON.stringify(path.join(directory, name))}, () => process.kill(process.pid, 'SIGKILL'))`;
  expect(spawnSync(process.execPath, ['-e', program]).signal).toBe('SIGKILL');
}

it('removes the control socket that a dead guard left', async () => {
  leaveSocket(`${deadPid()}-abc`);
  await sweepControlSockets(directory);
  expect(await readdir(directory)).toEqual([]);
});

it('leaves alone those that are listened to, those of living command lines, and what is none', async () => {
  const listened = `${deadPid()}-def`;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path.join(directory, listened), resolve));
  const starting = `${process.pid}-abc`;
  leaveSocket(starting);
  leaveSocket('somebody');
  await sweepControlSockets(directory);
  expect((await readdir(directory)).toSorted()).toEqual([starting, listened, 'somebody'].toSorted());
  await new Promise((resolve) => server.close(resolve));
});

it('does nothing where there is no such directory', async () => {
  await expect(sweepControlSockets(path.join(directory, 'none'))).resolves.toBeUndefined();
});
