import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../../src/errors.js';
import { runCommand } from '../../src/system/run-command.js';
import { loopDevicesBelow } from '../support/throwaway-filesystem.js';

/** What a mutant, or the tests that it broke, left behind. */
export interface LeftBehind {
  guards: number;
  loopDevices: string[];
}

const GUARD_NAMES = new Set(['qsentry', 'vigil']);
/** In which guards of tests that have ended end, too. */
const GUARDS_END_MS = 2000;
const ROUNDS = 20;

/** `read`, or `otherwise` for a process that is gone by now. */
function whileThere<Value>(read: () => Value, otherwise: Value): Value {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return otherwise;
    throw error;
  }
}

/** The guards that have something open in the directory. */
function guardsOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) =>
      whileThere(() => {
        if (!GUARD_NAMES.has(readFileSync(`/proc/${pid}/comm`, 'utf8').trim())) return false;
        const descriptors = readdirSync(`/proc/${pid}/fd`);
        return descriptors.some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).includes(directory));
      }, false),
    )
    .map(Number);
}

/** A frozen filesystem that nobody has mounted any more is still in the kernel: a mount finds it, and can thaw it. */
async function thaw(device: string, mountpoint: string): Promise<void> {
  const at = { timeoutMs: 5000 };
  const mounted = await runCommand(['mount', device, mountpoint], at);
  if (mounted.exitCode !== 0) return;
  await runCommand(['fsfreeze', '--unfreeze', mountpoint], at);
  await runCommand(['umount', '--lazy', mountpoint], at);
}

/**
 * Those whose images are in the directory, and those that stand on them: of an image on a filesystem that was unmounted beneath
 * it the kernel tells but where it was in that.
 */
async function loopDevicesOf(directory: string): Promise<string[]> {
  const below = loopDevicesBelow(directory);
  const numberOf = (device: string): string =>
    readFileSync(`/sys/block/${path.basename(device)}/dev`, 'utf8').trim();
  const numbers = new Set(below.map(numberOf));
  const list = ['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-MAJ:MIN'] as const;
  const { stdout } = await runCommand(list, { timeoutMs: 5000 });
  const attached = stdout.split('\n').map((line) => line.trim().split(/\s+/));
  const above = attached.filter(([, on = '']) => numbers.has(on)).map(([device = '']) => device);
  return [...new Set([...below, ...above])];
}

/** Thaws what is frozen on loop devices of the directory: who waits for that can be killed then. */
export async function thawAll(directory: string, mountpoint: string): Promise<void> {
  for (const device of loopDevicesBelow(directory)) await thaw(device, mountpoint);
}

/** Ends the guards and detaches the loop devices that have files in the directory. Returns what there was. */
export async function clearAway(directory: string, mountpoint: string): Promise<LeftBehind> {
  const giveUpAt = performance.now() + GUARDS_END_MS;
  while (guardsOf(directory).length > 0 && performance.now() < giveUpAt) await sleep(50);
  const guards = guardsOf(directory);
  for (const pid of guards)
    for (const signal of ['SIGCONT', 'SIGKILL']) whileThere(() => process.kill(pid, signal), false);
  const loopDevices = await loopDevicesOf(directory);
  for (let round = 0; round < ROUNDS && loopDevicesBelow(directory).length > 0; round += 1) {
    await thawAll(directory, mountpoint);
    // Any order: one that another one stands on is detached in a later round.
    for (const device of await loopDevicesOf(directory))
      await runCommand(['losetup', '--detach', device], { timeoutMs: 5000 });
    await sleep(100 * round);
  }
  const held = loopDevicesBelow(directory);
  if (held.length > 0) throw new Error(`cannot be undone: ${held.join(', ')}`);
  return { guards: guards.length, loopDevices };
}
