import { open, readFile, stat } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import type { BlockDevice } from './block-stack.js';
import { mountOfDescriptor } from './descriptor-mount.js';
import type { Mount } from './mountinfo.js';
import { runCommand } from './run-command.js';

/** The image file behind a loop device. */
export interface LoopImage {
  /** `major:minor` of the loop device. */
  device: string;
  /** As the kernel names it: with a suffix ` (deleted)` after an unlink. */
  path: string;
  /**
   * The mount that the image is reached by. Undefined when `path` does not lead to the very file that the device
   * reads: deleted, replaced, or in another mount namespace.
   */
  mount: Mount | undefined;
  /** Where in the image the device begins. */
  offsetBytes: number;
  /** The length of the device when it is not all the rest of the image, else 0. */
  sizeLimitBytes: number;
}

/** st_dev as losetup prints it; the bit layout is gnu_dev_makedev(3)'s. */
function majorMinorOf(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** `INODE MAJOR:MINOR` of the file that the kernel holds open for a loop device. */
async function backingInode(device: BlockDevice): Promise<string> {
  const output = ['--noheadings', '--output', 'BACK-INO,BACK-MAJ:MIN'];
  const result = await runCommand(['losetup', '--list', ...output, `/dev/${device.name}`], {
    timeoutMs: 10_000,
  });
  return result.stdout.trim().replaceAll(/\s+/g, ' ');
}

/** Whether the file of the descriptor or path `file` is the very one that the kernel reads for a loop device. */
export async function isImageOf(device: BlockDevice, file: number | string): Promise<boolean> {
  const { ino, dev } = await stat(typeof file === 'number' ? `/proc/self/fd/${file}` : file, {
    bigint: true,
  });
  return `${ino} ${majorMinorOf(dev)}` === (await backingInode(device));
}

async function reachableMount(device: BlockDevice, path: string): Promise<Mount | undefined> {
  let handle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
  try {
    if (!(await isImageOf(device, handle.fd))) return undefined;
    return await mountOfDescriptor(handle.fd);
  } finally {
    await handle.close();
  }
}

/** The image of a loop device; undefined for a device that is none. */
export async function readLoopImage(device: BlockDevice): Promise<LoopImage | undefined> {
  const path = device.backingFile;
  if (path === undefined) return undefined;
  const attribute = async (name: string): Promise<number> =>
    Number(await readFile(`/sys/dev/block/${device.majorMinor}/loop/${name}`, 'utf8'));
  return {
    device: device.majorMinor,
    path,
    mount: await reachableMount(device, path),
    offsetBytes: await attribute('offset'),
    sizeLimitBytes: await attribute('sizelimit'),
  };
}
