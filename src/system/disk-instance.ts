import { readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { readBlockStack } from './block-stack.js';
import { deviceNumber } from './device-number.js';
import { mountOfPath, readMounts } from './mountinfo.js';
import { readProcessIdentity } from './process-identity.js';

async function sequenceOf(device: string): Promise<string> {
  const directory = await realpath(path.join('/sys/dev/block', device));
  // A partition has that of its disk.
  for (const file of [path.join(directory, 'diskseq'), path.join(directory, '..', 'diskseq')]) {
    try {
      return (await readFile(file, 'utf8')).trim();
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  return '';
}

/**
 * Names what lies between a file that was written and the disk that it goes to: this boot of the machine, and each
 * device below `directory` as often as it was attached (sysfs-block, "diskseq", Linux 5.15). While it is the same nothing that
 * was written can have been lost without an error. `mounts` and the kernel are asked; nothing is written.
 */
export async function diskInstance(directory: string): Promise<string> {
  const [{ bootId }, { dev }, mounts, resolved] = await Promise.all([
    readProcessIdentity(),
    stat(directory),
    readMounts(),
    realpath(directory),
  ]);
  const mount = mountOfPath(mounts, resolved);
  // btrfs has a number that is no device's, and names one of its devices.
  const stack =
    mount === undefined
      ? undefined
      : ((await readBlockStack(mount.majorMinor)) ??
        (await readBlockStack((await deviceNumber(mount.source)) ?? '')));
  const sequences = await Promise.all((stack ?? []).map(({ majorMinor }) => sequenceOf(majorMinor)));
  return [bootId, dev, ...sequences].join(' ');
}
