import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { readBlockStack } from './block-stack.js';

/**
 * The names of the device-mapper devices that are suspended at this moment, the lowest first: in the order in which they
 * are to be resumed, since a device may need those below it for that. Without those that have no live table, for which
 * nobody waits. From sysfs.
 */
export async function readSuspendedDevices(sysfs = '/sys'): Promise<string[]> {
  const block = path.join(sysfs, 'block');
  const found: { name: string; depth: number }[] = [];
  for (const kernelName of (await readdir(block)).filter((name) => name.startsWith('dm-'))) {
    const directory = path.join(block, kernelName);
    // One that is removed meanwhile has nothing more to read.
    const read = async (file: string): Promise<string> =>
      (await readFile(path.join(directory, file), 'utf8').catch(() => '')).trim();
    if ((await read('dm/suspended')) !== '1' || (await read('size')) === '0') continue;
    const name = await read('dm/name');
    const number = await read('dev');
    if (name === '' || number === '') continue;
    // A device has more below it than any of those below it.
    const depth = (await readBlockStack(number, sysfs))?.length ?? 0;
    found.push({ name, depth });
  }
  return found.toSorted((a, b) => a.depth - b.depth).map(({ name }) => name);
}
