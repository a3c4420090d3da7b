import { open, readdir, readFile } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { readSysfs, type BlockDevice } from './block-stack.js';
import { mountOfDescriptor } from './descriptor-mount.js';
import type { Mount } from './mountinfo.js';
import { loopReads } from './native.js';

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

/** Whether the loop device reads the file of `fd`. False where it may not be opened, or nothing is attached to it any more. */
async function reads(device: Pick<BlockDevice, 'name'>, fd: number): Promise<boolean> {
  let loop;
  try {
    loop = await open(`/dev/${device.name}`, 'r');
    return await loopReads(loop.fd, fd);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  } finally {
    await loop?.close();
  }
}

/** Whether the file of the descriptor or path `file` is the very one that the kernel reads for a loop device. */
export async function isImageOf(device: Pick<BlockDevice, 'name'>, file: number | string): Promise<boolean> {
  if (typeof file === 'number') return await reads(device, file);
  const handle = await open(file, 'r');
  try {
    return await reads(device, handle.fd);
  } finally {
    await handle.close();
  }
}

/** The loop device that a file is attached to, as `/dev/loop3`, by whatever name; undefined: it is to none. */
export async function loopDeviceOf(file: string): Promise<string | undefined> {
  for (const name of (await readdir('/sys/block')).filter((one) => one.startsWith('loop'))) {
    const isAttached = (await readSysfs(`/sys/block/${name}/loop/backing_file`)) !== undefined;
    if (isAttached && (await isImageOf({ name }, file))) return `/dev/${name}`;
  }
  return undefined;
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
