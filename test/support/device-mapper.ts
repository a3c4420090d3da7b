import { readFileSync } from 'node:fs';
import { deviceNumber } from '../../src/system/device-number.js';
import { runCommand } from '../../src/system/run-command.js';
import { must } from './throwaway-filesystem.js';

/** The file that tells whether a device-mapper device is suspended: `1` or `0`, with a line's end. */
export async function suspendedFile(device: string): Promise<string> {
  return `/sys/dev/block/${await deviceNumber(device)}/dm/suspended`;
}

/** Whether the device of a `suspendedFile` is suspended. */
export function isSuspended(file: string): boolean {
  return readFileSync(file, 'utf8').trim() === '1';
}

/** The names of all device-mapper devices that are suspended. */
export async function suspendedDevices(): Promise<string[]> {
  const options = ['--columns', '--noheadings', '--separator', ' ', '-o', 'suspended,name'];
  const told = await must('dmsetup', 'info', ...options);
  return told.split('\n').flatMap((line) => /^\s*Suspended (.+)$/.exec(line)?.[1] ?? []);
}

/** Resumes all devices with their old tables, whatever state they are in: the end of each test. */
export async function resumeAllDevices(): Promise<void> {
  const resume = async (name: string): Promise<void> => {
    await runCommand(['dmsetup', 'clear', name], { timeoutMs: 20_000 });
    await runCommand(['dmsetup', 'resume', name], { timeoutMs: 20_000 });
  };
  // Side by side: one above may wait for one below.
  await Promise.all((await suspendedDevices()).map(resume));
}
