import { open } from 'node:fs/promises';
import type { BlockStack } from './block-stack.js';
import { mountOfDescriptor } from './descriptor-mount.js';
import { stackOf, stackOfDevice } from './filesystem-stack.js';
import { readLoopImage, type LoopImage } from './loop-image.js';
import type { Mount } from './mountinfo.js';
import { parseRows, poolOf, runZfs } from './zfs.js';
import { parseZvolName, zvolOfDisk } from './zvol.js';

/** The files and devices that a pool lies on, from `zpool list -v -H -P -o name`: absolute paths. Pure. */
export function parseVdevs(output: string): string[] {
  return parseRows(output).flatMap((row) => row.find((field) => field.startsWith('/')) ?? []);
}

/** A pool may lie in a file: then that is its image. */
async function vdevFile(vdev: string): Promise<LoopImage | undefined> {
  const handle = await open(vdev, 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    if (!(await handle.stat()).isFile()) return undefined;
    const mount = await mountOfDescriptor(handle.fd);
    return { device: vdev, path: vdev, mount, offsetBytes: 0, sizeLimitBytes: 0 };
  } finally {
    await handle.close();
  }
}

async function imagesOfPool(pool: string): Promise<LoopImage[]> {
  const listed = await runZfs(['zpool', 'list', '-v', '-H', '-P', '-o', 'name', pool]);
  const images: LoopImage[] = [];
  for (const vdev of parseVdevs(listed.stdout)) {
    const stack = await stackOfDevice(vdev);
    if (stack !== undefined) images.push(...(await imagesOfStack(stack)));
    else images.push(...(await withThoseBelow(await vdevFile(vdev))));
  }
  return images;
}

async function withThoseBelow(image: LoopImage | undefined): Promise<LoopImage[]> {
  if (image === undefined) return [];
  const { mount } = image;
  return [image, ...(mount === undefined ? [] : await imagesBelow(mount, await stackOf(mount)))];
}

async function imagesOfStack(stack: BlockStack): Promise<LoopImage[]> {
  const images: LoopImage[] = [];
  for (const device of stack) {
    images.push(...(await withThoseBelow(await readLoopImage(device))));
    const zvol = parseZvolName(device.name);
    // A partition of a zvol lies on the zvol itself, which the stack has too.
    const isDisk = zvol !== undefined && zvol.partition === undefined;
    const dataset = isDisk ? await zvolOfDisk(zvol.disk) : undefined;
    if (dataset !== undefined) images.push(...(await imagesOfPool(poolOf(dataset))));
  }
  return images;
}

/**
 * The image files under a mount and its devices, and under the filesystems that hold these, topmost first: those of
 * loop devices, and the files that a ZFS pool lies on.
 */
export async function imagesBelow(mount: Mount, stack: BlockStack | undefined): Promise<LoopImage[]> {
  if (mount.fstype === 'zfs') return await imagesOfPool(poolOf(mount.source));
  return stack === undefined ? [] : await imagesOfStack(stack);
}
