import { close, constants, ftruncate, open } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { ensureOwnDirectory, inOwnDirectory, removeIfEmpty } from './private-directory.js';
import { faultPoint } from '../system/fault-point.js';

/** ioctl(2) FICLONE. The descriptors stay open until the promise is settled. */
export type Ficlone = (destinationFd: number, sourceFd: number) => Promise<void>;

/** open(2): a file without a name, which Node has no constant for. O_DIRECTORY is a part of it. */
const O_TMPFILE = 0o20_000_000 | constants.O_DIRECTORY;

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);
const truncateDescriptor = promisify(ftruncate);

/** What a clone is made of and where it goes. */
export interface ClonePlan {
  image: string;
  /** Whether an open file is the one that the filesystem lies in. */
  isImage: (fd: number) => Promise<boolean>;
  /** Where the clone gets its name: in a private directory beside the image. */
  clone: string;
  /**
   * Whether FICLONE onto an older clone of the same file does only what changed since (XFS leaves alone what is shared
   * already: a fifth to a fourteenth of the time, measured on 60 000 extents), or all of its work again and that of
   * taking the older away (btrfs: twice the time).
   */
  incremental: boolean;
}

function cannotClone(image: string, cause: unknown): FsbackupError {
  return new FsbackupError(
    'snapshotFailed',
    `The image ${image} cannot be cloned: ${errnoOf(cause) ?? messageOf(cause)}`,
    {
      hint:
        'It must be a plain file on XFS made with reflink=1, or on btrfs (with the attribute +C of the image also on ' +
        'its directory), and there must be room.',
      cause,
    },
  );
}

/**
 * A reflinked copy of an image file, in three steps so that the one which must be fast is a single ioctl: `open`,
 * `make`, `publish`. Until it is published it has no name, so it ends with this process, however that ends.
 * Raw descriptors, because the garbage collector would close the FileHandle of an abandoned one.
 */
export class ImageClone {
  readonly #plan: ClonePlan;
  readonly #ficlone: Ficlone;
  readonly #source: number;
  readonly #destination: number;
  #state: 'empty' | 'made' | 'closed' = 'empty';
  #inFlight: Promise<void> = Promise.resolve();
  #isNameless = true;

  private constructor(plan: ClonePlan, ficlone: Ficlone, source: number, destination: number) {
    this.#plan = plan;
    this.#ficlone = ficlone;
    this.#source = source;
    this.#destination = destination;
  }

  /**
   * Opens both files and clones once for trial: that proves it works, writes out what of the image is dirty, and where
   * it can, leaves the real one less to do. Rejects with `snapshotFailed`, nothing being left.
   */
  static async open(plan: ClonePlan, ficlone: Ficlone): Promise<ImageClone> {
    const opened: number[] = [];
    try {
      const source = await openDescriptor(plan.image, constants.O_RDONLY | constants.O_NOFOLLOW);
      opened.push(source);
      // Whoever owns its directory may have put another in its place, which would be mounted.
      if (!(await plan.isImage(source))) throw new Error('it was replaced meanwhile');
      // Beside the image: a new file takes attributes from its directory that both files of a clone must share.
      const directory = path.dirname(plan.image);
      const destination = await openDescriptor(directory, O_TMPFILE | constants.O_RDWR, 0o600);
      opened.push(destination);
      await ficlone(destination, source);
      if (!plan.incremental) await truncateDescriptor(destination, 0);
      return new ImageClone(plan, ficlone, source, destination);
    } catch (error) {
      for (const descriptor of opened) await closeDescriptor(descriptor);
      throw cannotClone(plan.image, error);
    }
  }

  /** Whether the clone is complete. */
  get isMade(): boolean {
    return this.#state === 'made';
  }

  /** Whether nobody has begun to give it a name. */
  get isNameless(): boolean {
    return this.#isNameless;
  }

  /** The one ioctl. Nothing can interrupt it. Rejects with `snapshotFailed`. */
  async make(): Promise<void> {
    const running = this.#ficlone(this.#destination, this.#source);
    this.#inFlight = running.catch(() => undefined);
    try {
      await running;
    } catch (error) {
      throw cannotClone(this.#plan.image, error);
    }
    this.#state = 'made';
    faultPoint('reflink.cloned');
  }

  /** Gives the complete clone its name and closes the files. Rejects with `snapshotFailed`. */
  async publish(): Promise<void> {
    const { clone } = this.#plan;
    await ensureOwnDirectory(path.dirname(clone));
    // An unnamed file gets a name by linkat(2) with AT_SYMLINK_FOLLOW on its /proc link; Node has only link(2).
    const unnamed = `/proc/${process.pid}/fd/${this.#destination}`;
    const linked = await inOwnDirectory(path.dirname(clone), (own) => {
      this.#isNameless = false;
      return runCommand(
        [
          'ln',
          '--logical',
          '--no-target-directory',
          '--',
          unnamed,
          path.join(own.path, path.basename(clone)),
        ],
        { timeoutMs: 60_000 },
      );
    });
    if (linked?.exitCode !== 0) {
      const why = linked === undefined ? 'its directory is gone' : describeFailure('ln', linked);
      throw new FsbackupError('snapshotFailed', `The snapshot ${clone} cannot be given its name: ${why}`, {
        hint: 'See whether its filesystem is full or read-only.',
      });
    }
    faultPoint('reflink.named');
    await this.close();
  }

  /** Closes the files: the end of a clone without a name. Idempotent. */
  async close(): Promise<void> {
    // A descriptor that is closed before a queued ioctl begins could by then be another file.
    await this.#inFlight;
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await closeDescriptor(this.#source);
    await closeDescriptor(this.#destination);
  }
}

/**
 * Calls `use` with a path that leads to the clone of that name and to nothing else, whatever becomes of the directories
 * above; undefined where there is none. Rejects as `inOwnDirectory`.
 */
export async function withPublished<T>(
  clone: string,
  use: (pinned: string) => Promise<T>,
): Promise<T | undefined> {
  return await inOwnDirectory(path.dirname(clone), async (own) => {
    const pinned = path.join(own.path, path.basename(clone));
    try {
      if (!(await lstat(pinned)).isFile()) return undefined;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    return await use(pinned);
  });
}

/** Whether a clone of that name is there. Rejects as `inOwnDirectory`. */
export async function isPublished(clone: string): Promise<boolean> {
  return (await withPublished(clone, () => Promise.resolve(true))) ?? false;
}

/** Removes a clone by name, and its directory if that is empty then. Idempotent. Rejects as `inOwnDirectory`. */
export async function removePublished(clone: string): Promise<void> {
  await withPublished(clone, async (pinned) => {
    try {
      await unlink(pinned);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  });
  faultPoint('reflink.unlinked');
  await removeIfEmpty(path.dirname(clone));
}
