import { constants } from 'node:fs';
import { mkdir, open, realpath, rm, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../../errors.js';
import { copyOptions } from '../../snapshots/expose-device.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { loopDeviceOf } from '../../system/loop-image.js';
import { requireTrustedPath } from '../../system/trusted-path.js';
import { writeAll } from '../../system/write-all.js';
import { copyFailure } from '../copy-error.js';
import { checkFilesystem } from './check-filesystem.js';
import type { CopyProgress, CopyResult, ImageRestoreRequest } from '../engine.js';
import { imageChain, mapFile, readImageContents, type ImageLink, type MapLine } from './image-contents.js';
import { DamagedImage, describeDamage, readPieces } from './image-reader.js';
import type { MountStep } from '../filesystem/mounted-trees.js';
import { treesBelow } from '../filesystem/open-trees.js';
import type { OpenTrees } from '../filesystem/opened-trees.js';
import { shellWord, suggested } from '../../system/command-line.js';

const ZEROS = Buffer.alloc(1024 * 1024);

async function writeZeros(handle: FileHandle, { offset, length }: MapLine): Promise<void> {
  for (let done = 0; done < length; done += ZEROS.length) {
    await writeAll(handle, ZEROS.subarray(0, length - done), offset + done);
  }
}

/** Where an image is put together. */
interface Destination {
  handle: FileHandle;
  /** It reads as zeros all over: what is zero need not be written as long as nothing else was. */
  isEmpty: boolean;
  signal: AbortSignal;
  onBytes: (bytes: number) => void;
}

/** Writes the parts of an image, the full one first. Rejects with `copyFailed`. */
async function assemble(
  chain: readonly ImageLink[],
  { handle, isEmpty, signal, onBytes }: Destination,
  run: typeof runCommand,
): Promise<number> {
  let bytes = 0;
  for (const [index, link] of chain.entries()) {
    try {
      const result = await readPieces(
        link,
        {
          map: mapFile(link.image.name),
          signal,
          onPiece: async (line, piece) => {
            if (piece !== undefined) await writeAll(handle, piece, line.offset);
            else if (!isEmpty || index > 0) await writeZeros(handle, line);
            bytes += piece?.length ?? 0;
            onBytes(bytes);
          },
        },
        run,
      );
      if (result.exitCode !== 0) throw copyFailure('zstd', result);
    } catch (error) {
      if (!(error instanceof DamagedImage)) throw error;
      throw new FsbackupError('copyFailed', `the backup is damaged: ${describeDamage(link, error)}`, {
        hint: `See \`${suggested('backups verify', ['--full'])}\`, and restore another one.`,
        cause: error,
      });
    }
  }
  return bytes;
}

async function sizeOfDevice(device: string, run: typeof runCommand): Promise<number> {
  const result = await run(['blockdev', '--getsize64', device], { timeoutMs: 30_000 });
  if (result.exitCode === 0) return Number(result.stdout.trim());
  throw new FsbackupError('usage', `${device} cannot be looked at: ${describeFailure('blockdev', result)}`, {
    hint: 'Name a block device that is attached.',
  });
}

/** Of the directories alone: a device belongs to a group that may write to it, as a rule. */
async function requireTrustedPlace(destination: string): Promise<void> {
  const real = await realpath(destination).catch(() => destination);
  for (const directory of new Set([path.dirname(destination), path.dirname(real)])) {
    await requireTrustedPath(directory, {
      what: 'the directory of the destination',
      why: 'Whoever may change it can have root overwrite something else.',
    });
  }
}

/**
 * Opens a device so that nobody else has it mounted or in use: O_EXCL of open(2), for block devices. Of a file it is looked whether a
 * loop device reads it; who else has it open (a virtual machine) is not known.
 */
async function openDestination(
  destination: string,
  sizeBytes: number,
  run: typeof runCommand,
): Promise<{ handle: FileHandle; isEmpty: boolean; isNew: boolean }> {
  await requireTrustedPlace(destination);
  const there = await stat(destination).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there?.isBlockDevice() !== true) {
    const device = there === undefined ? undefined : await loopDeviceOf(destination);
    if (device !== undefined) {
      throw new FsbackupError('usage', `${destination} is in use: it is what ${device} reads`, {
        hint: `Unmount what is on it, and detach it (losetup --detach ${device}), or choose another file.`,
      });
    }
    const handle = await open(destination, 'w', 0o600);
    await handle.truncate(sizeBytes);
    return { handle, isEmpty: true, isNew: there === undefined };
  }
  const size = await sizeOfDevice(destination, run);
  if (size < sizeBytes) {
    throw new FsbackupError('usage', `${destination} has ${size} bytes, and the image ${sizeBytes}`, {
      hint: 'Choose a device that is at least as large, or restore to a file.',
    });
  }
  const { O_RDWR, O_EXCL } = constants;
  try {
    return { handle: await open(destination, O_RDWR | O_EXCL), isEmpty: false, isNew: false };
  } catch (error) {
    if (errnoOf(error) !== 'EBUSY') throw error;
    throw new FsbackupError('usage', `${destination} is in use: mounted, or part of another device`, {
      hint: `Unmount it (umount ${shellWord(destination)}), or choose another device.`,
      cause: error,
    });
  }
}

/** `CopyEngine.restoreImage` for what the image engine wrote. */
export async function restoreWholeImage(
  request: ImageRestoreRequest,
  run: typeof runCommand,
): Promise<CopyResult> {
  const { dataDirectory, source, destination, signal } = request;
  const { trees } = await readImageContents(dataDirectory);
  const tree = trees.find((one) => one.path === source);
  if (tree === undefined) throw new Error(`the backup has no image of ${source}`);
  const chain = await imageChain(dataDirectory, tree.image);
  const last = chain.at(-1)?.image;
  const { handle, isEmpty, isNew } = await openDestination(destination, last?.sizeBytes ?? 0, run);
  try {
    const onBytes = (bytes: number): void => request.onProgress({ bytes, files: 0 });
    const bytes = await assemble(chain, { handle, isEmpty, signal, onBytes }, run);
    await handle.sync();
    return { bytes, files: 1, unreadable: [] };
  } catch (error) {
    // As large as the whole, it would be taken for it.
    if (isNew) await rm(destination, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/** Puts an image together in a sparse file of `scratch`; returns how to see its filesystem. */
async function mountable(
  chain: readonly ImageLink[],
  context: {
    scratch: string;
    signal: AbortSignal;
    onProgress: (progress: CopyProgress) => void;
    run: typeof runCommand;
  },
): Promise<MountStep> {
  const { scratch, signal, onProgress, run } = context;
  const image = chain.at(-1)?.image;
  if (image === undefined) throw new Error('an image without parts');
  const [file, at] = [path.join(scratch, `${image.name}.img`), path.join(scratch, image.name)];
  await mkdir(at, { mode: 0o700 });
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.truncate(image.sizeBytes);
    const onBytes = (bytes: number): void => onProgress({ bytes, files: 0 });
    await assemble(chain, { handle, isEmpty: true, signal, onBytes }, run);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  const options = ['loop', 'ro', 'nosuid', 'nodev', 'noexec', ...copyOptions(image.fstype, image.clean)];
  return { fstype: image.fstype, options: options.join(','), source: file, at };
}

/** Opens what the image engine wrote: the filesystem in each image, and what fsck says of it. */
export function imageOpener(run: typeof runCommand): OpenTrees {
  return async ({ dataDirectory, scratch, signal, onProgress }, use) => {
    const contents = await readImageContents(dataDirectory);
    const images: { mount: MountStep; clean: boolean }[] = [];
    for (const { name, clean } of contents.images) {
      const chain = await imageChain(dataDirectory, name);
      images.push({ mount: await mountable(chain, { scratch, signal, onProgress, run }), clean });
    }
    const trees = treesBelow(contents.trees, ({ image }) => path.join(scratch, image));
    const check = async (): Promise<string[]> => {
      const problems: string[] = [];
      for (const { mount, clean } of images)
        problems.push(...(await checkFilesystem({ ...mount, clean }, signal, run)));
      return problems;
    };
    return await use({ trees, mounts: images.map(({ mount }) => mount), scratch, check });
  };
}

/** `CopyEngine.roomToRestore`: the images unpacked, and as much again for what is copied from them. */
export async function roomForImages(dataDirectory: string): Promise<number> {
  const { images } = await readImageContents(dataDirectory);
  let bytes = 0;
  for (const { name, sizeBytes } of images) {
    const chain = await imageChain(dataDirectory, name);
    const stored = chain.reduce((sum, { image }) => sum + image.storedBytes, 0);
    bytes += Math.min(stored, sizeBytes);
  }
  return 2 * bytes;
}
