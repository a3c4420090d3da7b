import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { endSecond, isGuard, isStopped, killGuards } from '../../../src/freeze/kill-guards.js';

let directory: string;
let children: ChildProcess[];

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'guards-'));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

/** A process of that name which ends by itself after so many seconds. */
async function started(name: string, seconds: number): Promise<{ pid: number; ended: Promise<unknown[]> }> {
  const file = path.join(directory, name);
  copyFileSync('/bin/sleep', file);
  const child = spawn(file, [String(seconds)]);
  children.push(child);
  await once(child, 'spawn');
  return { pid: child.pid ?? 0, ended: once(child, 'exit') };
}

it('knows a guard by its name, and only while it lives', async () => {
  const guard = await started('vigil', 60);
  const other = await started('sleeper', 60);
  expect([guard.pid, other.pid].map(isGuard)).toEqual([true, false]);
  killGuards([other.pid, guard.pid]);
  expect(await guard.ended).toEqual([null, 'SIGKILL']);
  expect(isGuard(guard.pid)).toBe(false);
  killGuards([guard.pid]);
  expect(children.map(({ signalCode }) => signalCode)).toEqual(['SIGKILL', null]);
});

it('sees that one is stopped', async () => {
  const { pid } = await started('qsentry', 60);
  expect(isStopped(pid)).toBe(false);
  process.kill(pid, 'SIGSTOP');
  await expect.poll(() => isStopped(pid)).toBe(true);
});

it('lets a second end by itself', async () => {
  const { pid, ended } = await started('vigil', 0.3);
  expect(await endSecond(pid)).toBe(true);
  expect(await ended).toEqual([0, null]);
  expect(await endSecond(pid)).toBe(true);
});

it('kills one that does not, and says so', async () => {
  const { pid, ended } = await started('vigil', 60);
  expect(await endSecond(pid)).toBe(false);
  expect(await ended).toEqual([null, 'SIGKILL']);
});
