import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { alreadyMounted, isSealed, mountAt, remountReadOnly, unmount } from '../system/mount.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { withPinnedDirectory, withPinnedName, type PinnedDirectory } from '../system/pinned-directory.js';
import { isSubvolumeRoot } from '../system/subvolume.js';
import { locateSubvolume } from './locate-subvolume.js';
import { listSubvolumes } from './nested-subvolumes.js';
import {
  ensureOwnDirectory,
  inOwnDirectory,
  isOwnDirectory,
  removeIfEmpty,
  SNAPSHOT_DIRECTORY_NAME,
} from './private-directory.js';
import type {
  CreateOptions,
  Detection,
  Exposure,
  FilesystemFacts,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from './provider.js';
import { showInside } from './show-inside.js';
import { SnapshotTool, type ToolOptions } from './snapshot-tool.js';
import { findStorages, notShown, requireRoom, storageData } from './storage.js';
import { faultPoint } from '../system/fault-point.js';

/** btrfs reserves metadata for every open transaction; below this a snapshot may fail or end the last room. */
const MIN_ROOM_BYTES = 32 * 1024 * 1024;
const CREATE_TIMEOUT_MS = 120_000;
const DELETE_TIMEOUT_MS = 300_000;

interface Paths {
  subvolume: string;
  snapshot: string;
  /** What the origin's mountpoint shows of the subvolume: a relative path, empty for all of it. */
  inside: string;
}

function pathsOf(ref: SnapshotRef): Paths {
  const { subvolume, snapshot, inside } = ref.data;
  if (subvolume === undefined || snapshot === undefined || inside === undefined) {
    throw new Error(`the snapshot ${ref.name} has no paths in its data`);
  }
  return { subvolume, snapshot, inside };
}

function gone(directory: string): FsbackupError {
  return new FsbackupError(
    'snapshotFailed',
    `The directory for snapshots, ${directory}, was taken away meanwhile`,
    {
      hint: 'See who may write to the directory above it.',
    },
  );
}

/**
 * Snapshots a btrfs subvolume by itself: a read-only snapshot commits what is written and is atomic, and on a frozen
 * btrfs it would deadlock, so it is never frozen. Nested subvolumes are empty directories in it.
 */
export class BtrfsProvider implements SnapshotProvider {
  readonly name = 'btrfs';
  readonly #tool = new SnapshotTool();
  /** Prepared by this process, and not begun to be made: certainly not there. */
  readonly #unmade = new Set<string>();

  detect({ mount }: FilesystemFacts): Detection {
    if (mount.fstype !== 'btrfs') return { suits: false, reason: `${mount.fstype} is not btrfs` };
    return {
      suits: true,
      freezeModes: ['atomic'],
      reason: 'a btrfs snapshot is atomic by itself',
      writesTo: [mount.majorMinor],
    };
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
    const refs: SnapshotRef[] = [];
    for (const { filesystem, name } of requests) {
      const { subvolume, inside, storage } = await locateSubvolume(filesystem.mount);
      await requireRoom(storage.mountpoint, MIN_ROOM_BYTES);
      const snapshot = path.join(storage.mountpoint, SNAPSHOT_DIRECTORY_NAME, name);
      const stored = await storageData(storage, snapshot);
      this.#unmade.add(name);
      refs.push({
        provider: this.name,
        name,
        mountpoint: filesystem.mount.mountpoint,
        fstype: 'btrfs',
        takenFrozen: false,
        data: { subvolume, inside, snapshot, ...stored },
      });
    }
    return refs;
  }

  async create(refs: readonly SnapshotRef[], options: CreateOptions): Promise<void> {
    const results = await Promise.allSettled(refs.map((ref) => this.#createOne(ref, options)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #createOne(ref: SnapshotRef, createOptions: CreateOptions): Promise<void> {
    const { subvolume, snapshot } = pathsOf(ref);
    const directory = path.dirname(snapshot);
    const options = { ...createOptions, timeoutMs: CREATE_TIMEOUT_MS };
    await this.#makeDirectory(ref.name, directory, options);
    const argv = (origin: string, made: string): [string, ...string[]] => [
      'btrfs',
      'subvolume',
      'snapshot',
      '-r',
      '--',
      origin,
      made,
    ];
    const byHand = argv(subvolume, snapshot);
    // Held open, both: who owns a directory on the way could have another subvolume snapshotted, or into another place.
    const made = await inOwnDirectory(directory, (own) =>
      withPinnedDirectory(subvolume, async (origin) => {
        this.#unmade.delete(ref.name);
        await this.#tool.make(ref.name, argv(origin.path, path.join(own.path, ref.name)), {
          ...options,
          byHand,
        });
        return true;
      }),
    );
    if (made === undefined) throw gone(directory);
    faultPoint('btrfs.snapshotted');
  }

  async #makeDirectory(name: string, directory: string, options: ToolOptions): Promise<void> {
    if (await isOwnDirectory(directory)) return;
    // By a program: where somebody froze the filesystem, a thread of ours would hang in mkdir(2), and our exit with it.
    await withPinnedName(directory, async (pinned) => {
      const byHand = ['mkdir', '--mode=0700', '--', directory];
      await this.#tool.make(name, ['mkdir', '--parents', '--mode=0700', '--', pinned], {
        ...options,
        byHand,
      });
    });
    await ensureOwnDirectory(directory);
    faultPoint('btrfs.directory-made');
  }

  async exists(ref: SnapshotRef): Promise<boolean> {
    const there = await inOwnDirectory(path.dirname(pathsOf(ref).snapshot), (own) =>
      isSubvolumeRoot(path.join(own.path, ref.name)),
    );
    return there ?? false;
  }

  /** A btrfs snapshot is a tree of its own: nothing written elsewhere changes it. */
  async checkIntact(): Promise<void> {}

  async expose(ref: SnapshotRef, directory: string): Promise<Exposure> {
    const { snapshot, inside } = pathsOf(ref);
    if (!(await this.exists(ref))) {
      throw new FsbackupError('snapshotFailed', `The snapshot ${ref.name} does not exist`, {
        hint: 'Run the job again.',
      });
    }
    const shown = await mountAt(directory);
    if (shown === undefined) {
      await inOwnDirectory(path.dirname(snapshot), (own) =>
        withPinnedDirectory(ref.name, (made) => showInside(made, inside, directory), own),
      );
      faultPoint('btrfs.mounted');
    } else if (
      shown.fstype !== 'btrfs' ||
      !shown.root.endsWith(path.join('/', path.basename(snapshot), inside))
    ) {
      throw alreadyMounted(directory, shown);
    } else if (!isSealed(shown)) {
      await remountReadOnly(directory);
    }
    return { snapshot: ref, path: directory };
  }

  async unexpose(exposure: Exposure): Promise<void> {
    await unmount(exposure.path);
    faultPoint('btrfs.unmounted');
  }

  async remove(ref: SnapshotRef): Promise<void> {
    await this.#tool.settled(ref.name);
    const { snapshot } = pathsOf(ref);
    if (!this.#unmade.delete(ref.name)) {
      const wasThere = await inOwnDirectory(path.dirname(snapshot), (own) =>
        this.#deleteFrom(own, ref.name, snapshot),
      );
      if (wasThere !== true) await this.#removeElsewhere(ref);
    }
    faultPoint('btrfs.deleted');
    await removeIfEmpty(path.dirname(snapshot));
  }

  /**
   * It is not where it was made: it is gone, or its filesystem is mounted elsewhere, or by another subvolume. Any mount
   * of a btrfs tells of all its subvolumes.
   */
  async #removeElsewhere(ref: SnapshotRef): Promise<void> {
    for (const storage of await findStorages(ref)) {
      for (const inside of await listSubvolumes(storage.mounts[0])) {
        if (!inside.endsWith(path.join('/', SNAPSHOT_DIRECTORY_NAME, ref.name))) continue;
        const directory = storage.reach(path.dirname(inside));
        if (directory === undefined) throw notShown(ref, inside);
        const snapshot = path.join(directory, ref.name);
        await inOwnDirectory(directory, (own) => this.#deleteFrom(own, ref.name, snapshot));
        await removeIfEmpty(directory);
      }
    }
  }

  /** Resolves to whether it was there. */
  async #deleteFrom(own: PinnedDirectory, name: string, snapshot: string): Promise<boolean> {
    const pinned = path.join(own.path, name);
    if (!(await isSubvolumeRoot(pinned))) return false;
    const deleted = await runCommand(['btrfs', 'subvolume', 'delete', '--', pinned], {
      timeoutMs: DELETE_TIMEOUT_MS,
    });
    if (deleted.exitCode === 0 || !(await isSubvolumeRoot(pinned))) return true;
    throw new FsbackupError(
      'cleanupIncomplete',
      `The snapshot ${snapshot} could not be removed: ${describeFailure('btrfs', deleted)}`,
      { hint: `End what uses it, then run: fsbackup recover` },
    );
  }
}
