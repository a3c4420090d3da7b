import { open } from 'node:fs/promises';
import type { BlockStack } from './block-stack.js';
import { mountOfDescriptor } from './descriptor-mount.js';
import { stackOf, stackOfDevice } from './filesystem-stack.js';
import { readLoopImage, type LoopImage } from './loop-image.js';
import type { Mount } from './mountinfo.js';
import { upperMountOf } from './overlay.js';
import { parseRows, poolOf, runZfs } from './zfs.js';
import { parseZvolName, zvolOfDisk } from './zvol.js';

/** What a filesystem lies on that itself lies on filesystems. */
export interface LayersBelow {
  /**
   * The image files of loop devices, and the files that a ZFS pool lies on: of the filesystem itself, and of those that
   * it is written to; topmost first.
   */
  images: LoopImage[];
  /**
   * `major:minor` of each filesystem that is written to when this one is: those that hold the images, and those of the
   * upper directories of overlays.
   */
  filesystems: string[];
}

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

async function addPool(pool: string, found: LayersBelow): Promise<void> {
  const listed = await runZfs(['zpool', 'list', '-v', '-H', '-P', '-o', 'name', pool]);
  for (const vdev of parseVdevs(listed.stdout)) {
    const stack = await stackOfDevice(vdev);
    if (stack === undefined) await addImage(await vdevFile(vdev), found);
    else await addStack(stack, found);
  }
}

async function addImage(image: LoopImage | undefined, found: LayersBelow): Promise<void> {
  if (image === undefined) return;
  found.images.push(image);
  await addFilesystem(image.mount, found);
}

async function addFilesystem(mount: Mount | undefined, found: LayersBelow): Promise<void> {
  // What lies below it is known already; and names that mislead lead round in a circle at worst.
  if (mount === undefined || found.filesystems.includes(mount.majorMinor)) return;
  found.filesystems.push(mount.majorMinor);
  await addThoseBelow(mount, await stackOf(mount), found);
}

async function addStack(stack: BlockStack, found: LayersBelow): Promise<void> {
  for (const device of stack) {
    await addImage(await readLoopImage(device), found);
    const zvol = parseZvolName(device.name);
    // A partition of a zvol lies on the zvol itself, which the stack has too.
    const isDisk = zvol !== undefined && zvol.partition === undefined;
    const dataset = isDisk ? await zvolOfDisk(zvol.disk) : undefined;
    if (dataset !== undefined) await addPool(poolOf(dataset), found);
  }
}

async function addThoseBelow(mount: Mount, stack: BlockStack | undefined, found: LayersBelow): Promise<void> {
  if (mount.fstype === 'zfs') await addPool(poolOf(mount.source), found);
  else if (mount.fstype === 'overlay') await addFilesystem(await upperMountOf(mount), found);
  else if (stack !== undefined) await addStack(stack, found);
}

/** All layers under a mount and its devices. */
export async function layersBelow(mount: Mount, stack: BlockStack | undefined): Promise<LayersBelow> {
  const found: LayersBelow = { images: [], filesystems: [] };
  await addThoseBelow(mount, stack, found);
  return found;
}
