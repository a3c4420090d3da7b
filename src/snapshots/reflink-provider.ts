import { stat } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { readBlockStack, type BlockDevice } from '../system/block-stack.js';
import { isImageOf, readLoopImage, type LoopImage } from '../system/loop-image.js';
import { alreadyMounted, mountAt, mountReadOnly, unmount } from '../system/mount.js';
import type { Mount } from '../system/mountinfo.js';
import { copyOptions, showReadOnly } from './expose-device.js';
import { ImageClone, isPublished, removePublished, withPublished, type Ficlone } from './image-clone.js';
import { SNAPSHOT_DIRECTORY_NAME } from './private-directory.js';
import type {
  CreateOptions,
  Detection,
  Exposure,
  FilesystemFacts,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from './provider.js';
import { refuseReflink } from './reflink-refusal.js';
import { findStorages, notShown, requireRoom, storageData } from './storage.js';
import { throwIfAborted } from './aborted.js';
import { faultPoint } from '../system/fault-point.js';
import { suggested } from '../system/command-line.js';

/** Room that must be free beside an image: for what is overwritten while its clone exists. */
const MIN_ROOM_BYTES = 64 * 1024 * 1024;
const ROOM_SHARE = 0.05;

function mountOptions(ref: SnapshotRef): string[] {
  const { offset = '0', sizeLimit = '0' } = ref.data;
  const loop = ['loop', `offset=${offset}`, ...(sizeLimit === '0' ? [] : [`sizelimit=${sizeLimit}`])];
  return [...loop, ...copyOptions(ref.fstype, ref.takenFrozen)];
}

/** An image, and the loop device that reads it. */
interface CurrentImage {
  image: LoopImage & { mount: Mount };
  device: BlockDevice;
}

/**
 * Snapshots a filesystem in an image file on XFS or btrfs, mounted by a loop device: the image is cloned by FICLONE
 * while the filesystem in it is frozen. The filesystem that holds the image must not be.
 */
export class ReflinkProvider implements SnapshotProvider {
  readonly name = 'reflink';
  readonly #ficlone: Ficlone;
  /** By name of snapshot; from `prepare` until the clone has a name on disk or is given up. */
  readonly #clones = new Map<string, ImageClone>();

  constructor(ficlone: Ficlone) {
    this.#ficlone = ficlone;
  }

  detect(filesystem: FilesystemFacts): Detection {
    const refusal = refuseReflink(filesystem);
    if (refusal !== undefined) return { suits: false, reason: refusal };
    const image = filesystem.images?.[0];
    return {
      suits: true,
      freezeModes: ['explicit'],
      reason: `its image ${image?.path} is cloned on ${image?.mount?.fstype} while it is frozen`,
      writesTo: image?.mount === undefined ? [] : [image.mount.majorMinor],
    };
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
    const refs: SnapshotRef[] = [];
    try {
      for (const request of requests) refs.push(await this.#prepareOne(request));
    } catch (error) {
      for (const ref of refs) await this.#giveUp(ref);
      throw error;
    }
    return refs;
  }

  async #prepareOne({ filesystem, name, freezeMode }: SnapshotRequest): Promise<SnapshotRef> {
    const { image: current, device } = await this.#currentImage(filesystem);
    const { path: image, mount: storage, offsetBytes, sizeLimitBytes } = current;
    const { blocks } = await stat(image);
    await requireRoom(path.dirname(image), Math.max(MIN_ROOM_BYTES, blocks * 512 * ROOM_SHARE));
    const clone = path.join(path.dirname(image), SNAPSHOT_DIRECTORY_NAME, `${name}.img`);
    const isImage = (fd: number): Promise<boolean> => isImageOf(device, fd);
    const stored = await storageData(storage, clone);
    const plan = { image, isImage, clone, incremental: storage.fstype === 'xfs' };
    this.#clones.set(name, await ImageClone.open(plan, this.#ficlone));
    faultPoint('reflink.prepared');
    const { mountpoint, fstype, root } = filesystem.mount;
    return {
      provider: this.name,
      name,
      mountpoint,
      fstype,
      takenFrozen: freezeMode === 'explicit',
      data: {
        image,
        clone,
        root,
        offset: String(offsetBytes),
        sizeLimit: String(sizeLimitBytes),
        ...stored,
      },
    };
  }

  /** The image as it is now: since the facts were gathered it may have been renamed or deleted. */
  async #currentImage(filesystem: FilesystemFacts): Promise<CurrentImage> {
    const stack = await readBlockStack(filesystem.mount.majorMinor);
    const image = stack === undefined ? undefined : await readLoopImage(stack[0]);
    const refusal = refuseReflink({ ...filesystem, stack, images: image === undefined ? [] : [image] });
    if (stack === undefined || image?.mount === undefined || refusal !== undefined) {
      throw new FsbackupError(
        'snapshotFailed',
        `${filesystem.mount.mountpoint} cannot be snapshotted by a clone of its image: ${refusal}`,
        { hint: `See \`${suggested('plan')}\` for what this host can snapshot.` },
      );
    }
    return { image: { ...image, mount: image.mount }, device: stack[0] };
  }

  async create(refs: readonly SnapshotRef[], { signal }: CreateOptions): Promise<void> {
    throwIfAborted(signal);
    const clones = refs.map((ref) => {
      const clone = this.#clones.get(ref.name);
      if (clone === undefined) throw new Error(`the snapshot ${ref.name} was not prepared by this provider`);
      return clone;
    });
    const results = await Promise.allSettled(clones.map((clone) => clone.make()));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    throwIfAborted(signal);
  }

  async exists(ref: SnapshotRef): Promise<boolean> {
    return this.#clones.get(ref.name)?.isMade === true || (await isPublished(cloneOf(ref)));
  }

  /** The clone shares blocks that nothing overwrites: what is written to the image goes elsewhere. */
  async checkIntact(): Promise<void> {}

  async expose(ref: SnapshotRef, directory: string): Promise<Exposure> {
    await this.#publish(ref);
    const shown = await mountAt(directory);
    const isThere = await withPublished(cloneOf(ref), async (pinned) => {
      if (shown === undefined) await mountClone(ref, pinned, directory);
      else if (!(await isShownAt(directory, pinned))) throw alreadyMounted(directory, shown);
      return true;
    });
    if (isThere === undefined) throw missing(ref);
    await showReadOnly(directory, ref.data['root'] ?? '/', shown);
    return { snapshot: ref, path: directory };
  }

  /** Nothing must have a name before it has to: a process that dies until then leaves nothing. */
  async #publish(ref: SnapshotRef): Promise<void> {
    const held = this.#clones.get(ref.name);
    if (held?.isMade === true) {
      await held.publish();
      this.#clones.delete(ref.name);
    }
  }

  async unexpose(exposure: Exposure): Promise<void> {
    await unmount(exposure.path);
    faultPoint('reflink.unmounted');
  }

  /** Resolves to whether it certainly has no name on disk. */
  async #giveUp(ref: SnapshotRef): Promise<boolean> {
    const clone = this.#clones.get(ref.name);
    await clone?.close();
    this.#clones.delete(ref.name);
    return clone?.isNameless === true;
  }

  /** An open clone keeps all blocks of the image: what is overwritten meanwhile takes room. */
  async abandon(ref: SnapshotRef): Promise<void> {
    if (this.#clones.get(ref.name)?.isMade === false) await this.#giveUp(ref);
  }

  async remove(ref: SnapshotRef): Promise<void> {
    if (await this.#giveUp(ref)) return;
    const clone = cloneOf(ref);
    for (const place of (await isPublished(clone)) ? [clone] : await otherPlaces(ref)) {
      await removePublished(place);
    }
  }
}

function cloneOf(ref: SnapshotRef): string {
  const { clone } = ref.data;
  if (clone === undefined) throw new Error(`the snapshot ${ref.name} has no path in its data`);
  return clone;
}

/** Where a clone is now, if it is, that is not where it was made. Rejects with `cleanupIncomplete`. */
async function otherPlaces(ref: SnapshotRef): Promise<string[]> {
  const { storagePath } = ref.data;
  const storages = await findStorages(ref);
  if (storagePath === undefined) return [cloneOf(ref)];
  return storages.map((storage) => {
    const directory = storage.reach(path.dirname(storagePath));
    if (directory === undefined) throw notShown(ref, storagePath);
    return path.join(directory, path.basename(storagePath));
  });
}

function missing(ref: SnapshotRef): FsbackupError {
  return new FsbackupError('snapshotFailed', `The snapshot ${ref.name} does not exist`, {
    hint: 'Run the job again.',
  });
}

/** Whether what is mounted at `directory` lies on a loop device that reads `file`. */
async function isShownAt(directory: string, file: string): Promise<boolean> {
  const shown = await mountAt(directory);
  const stack = shown === undefined ? undefined : await readBlockStack(shown.majorMinor);
  return stack !== undefined && (await isImageOf(stack[0], file));
}

async function mountClone(ref: SnapshotRef, pinned: string, directory: string): Promise<void> {
  await mountReadOnly({ source: pinned, directory, fstype: ref.fstype, options: mountOptions(ref) });
  faultPoint('reflink.mounted');
  // mount(8) makes a name of what it is given, and opens that: it may be another's by then.
  if (await isShownAt(directory, pinned)) return;
  await unmount(directory);
  throw new FsbackupError('snapshotFailed', `Another file was put in the place of ${cloneOf(ref)}`, {
    hint: 'See who may write to the directory of the image.',
  });
}
