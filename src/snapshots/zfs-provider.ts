import os from 'node:os';
import { FsbackupError } from '../errors.js';
import { readBlockStack } from '../system/block-stack.js';
import { alreadyMounted, mountAt, mountReadOnly, unmount } from '../system/mount.js';
import type { Mount } from '../system/mountinfo.js';
import { describeZfsFailure, poolOf, readPool, refusePool } from '../system/zfs.js';
import { throwIfAborted } from './aborted.js';
import type {
  CreateOptions,
  Detection,
  Exposure,
  FilesystemFacts,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from './provider.js';
import { showReadOnly } from './expose-device.js';
import { SnapshotTool } from './snapshot-tool.js';
import { refuseZfs } from './zfs-refusal.js';
import { requireZfsRoom } from './zfs-room.js';
import {
  findZfsSnapshot,
  holdSnapshot,
  HOST_PROPERTY,
  keepZfsSnapshot,
  removeZfsSnapshot,
  RUN_PROPERTY,
  type ZfsSnapshotName,
} from './zfs-snapshot.js';
import { exposeZvol, isCloneOf } from './zvol-clone.js';
import { faultPoint } from '../system/fault-point.js';
import { suggested } from '../system/command-line.js';

const CREATE_TIMEOUT_MS = 120_000;
/** A pool is asked once for all the snapshots in it that are looked at together. */
const SAME_LOOK_MS = 1000;

/** The snapshots of one window are marked alike, since one command makes them: `fsbackup-JOB-RUNID`. */
function runOf(name: string): string {
  return name.replace(/-\d+(?:-try\d+)?$/, '');
}

function nameOf(ref: SnapshotRef): ZfsSnapshotName {
  const { dataset, run } = ref.data;
  if (dataset === undefined || run === undefined)
    throw new Error(`the snapshot ${ref.name} has no dataset in its data`);
  return { dataset, name: ref.name, run };
}

/**
 * The commands that make these snapshots: one for each pool and run, so that all in it are at one instant. A command
 * takes a dataset once only: what is asked for twice, as by two partitions of a zvol, is in a further one. Pure.
 */
export function groupIntoCommands(refs: readonly SnapshotRef[]): SnapshotRef[][] {
  const commands: SnapshotRef[][] = [];
  for (const ref of refs) {
    const { dataset, run } = nameOf(ref);
    const fitting = commands.find((command) =>
      command.every(
        (other) =>
          poolOf(nameOf(other).dataset) === poolOf(dataset) &&
          nameOf(other).run === run &&
          nameOf(other).dataset !== dataset,
      ),
    );
    if (fitting === undefined) commands.push([ref]);
    else fitting.push(ref);
  }
  return commands;
}

function zvolMountOptions(ref: SnapshotRef): string[] {
  // The clone has the UUID of the mounted original; on a read-only device no log can be replayed, and none need be.
  if (ref.fstype === 'xfs') return ref.takenFrozen ? ['nouuid', 'norecovery'] : ['nouuid'];
  // Taken frozen, ext4's journal is empty: that it mounts without `noload` proves once more that the freeze held.
  return [];
}

/**
 * Snapshots datasets of ZFS by themselves, atomically and at one instant over a pool, and ext4 or XFS on a zvol while
 * they are frozen, since ZFS does not freeze what lies on it.
 */
export class ZfsProvider implements SnapshotProvider {
  readonly name = 'zfs';
  readonly #tool = new SnapshotTool();
  readonly #looks = new Map<string, { atMs: number; pool: ReturnType<typeof readPool> }>();

  detect(filesystem: FilesystemFacts): Detection {
    const refusal = refuseZfs(filesystem);
    if (refusal !== undefined) return { suits: false, ...refusal };
    // Where the pool lies in an image file, its snapshots are written to the filesystem that holds that.
    const { zfs, below = [], mount } = filesystem;
    // By one command; but a dataset is in one once only, and two partitions of a zvol are two filesystems.
    const together =
      zfs === undefined || zfs.partition !== undefined ? {} : { together: `zfs ${poolOf(zfs.dataset)}` };
    if (zfs?.kind === 'volume') {
      return {
        suits: true,
        freezeModes: ['explicit', 'atomic'],
        reason: `ZFS snapshots the zvol ${zfs.dataset} and does not freeze the ${mount.fstype} on it`,
        writesTo: below,
        ...together,
      };
    }
    return {
      suits: true,
      freezeModes: ['atomic'],
      reason: 'a ZFS snapshot is atomic by itself',
      writesTo: [mount.majorMinor, ...below],
      ...together,
    };
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
    const refs = requests.map(({ filesystem, name, freezeMode }): SnapshotRef => {
      const refusal = refuseZfs(filesystem);
      const { mount, zfs } = filesystem;
      if (refusal !== undefined || zfs === undefined) {
        throw new FsbackupError(
          'snapshotFailed',
          `${mount.mountpoint} cannot be snapshotted by ZFS: ${refusal?.reason}`,
          { hint: refusal?.hint ?? `See \`${suggested('plan')}\` for what this host can snapshot.` },
        );
      }
      const { dataset, kind, partition } = zfs;
      return {
        provider: this.name,
        name,
        mountpoint: mount.mountpoint,
        fstype: mount.fstype,
        takenFrozen: freezeMode === 'explicit',
        data: {
          dataset,
          kind,
          root: mount.root,
          run: runOf(name),
          ...(partition === undefined ? {} : { partition: String(partition) }),
        },
      };
    });
    await requireZfsRoom(refs.map(nameOf));
    return refs;
  }

  async create(refs: readonly SnapshotRef[], options: CreateOptions): Promise<void> {
    throwIfAborted(options.signal);
    const results = await Promise.allSettled(
      groupIntoCommands(refs).map((command) => this.#snapshot(command, options)),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #snapshot(command: readonly SnapshotRef[], options: CreateOptions): Promise<void> {
    const names = command.map(nameOf);
    const run = names[0]?.run ?? '';
    const properties = ['-o', `${RUN_PROPERTY}=${run}`, '-o', `${HOST_PROPERTY}=${os.hostname()}`];
    const snapshots = names.map(({ dataset, name }) => `${dataset}@${name}`);
    await this.#tool.make(
      names.map(({ name }) => name),
      ['zfs', 'snapshot', ...properties, ...snapshots],
      { ...options, timeoutMs: CREATE_TIMEOUT_MS, describe: describeZfsFailure },
    );
    faultPoint('zfs.snapshotted');
  }

  async exists(ref: SnapshotRef): Promise<boolean> {
    return (await findZfsSnapshot(nameOf(ref))) !== undefined;
  }

  /** Nothing that is written changes a snapshot; but of a pool that waits for its disks nothing can be read. */
  async checkIntact(ref: SnapshotRef): Promise<void> {
    const refused = refusePool(await this.#lookAt(poolOf(nameOf(ref).dataset)));
    if (refused === undefined) return;
    throw new FsbackupError(
      'snapshotInvalid',
      `The snapshot ${ref.name} can no longer be read: ${refused.reason}`,
      { hint: refused.hint },
    );
  }

  #lookAt(name: string): ReturnType<typeof readPool> {
    const last = this.#looks.get(name);
    if (last !== undefined && performance.now() - last.atMs < SAME_LOOK_MS) return last.pool;
    const look = { atMs: performance.now(), pool: readPool(name) };
    this.#looks.set(name, look);
    return look.pool;
  }

  async expose(ref: SnapshotRef, directory: string): Promise<Exposure> {
    const shown = await mountAt(directory);
    const snapshot = await findZfsSnapshot(nameOf(ref));
    if (snapshot === undefined) {
      throw new FsbackupError('snapshotFailed', `The snapshot ${ref.name} does not exist`, {
        hint: 'Run the job again.',
      });
    }
    if (shown !== undefined && !(await this.#isOf(ref, snapshot, shown)))
      throw alreadyMounted(directory, shown);
    await holdSnapshot(snapshot);
    faultPoint('zfs.held');
    if (shown === undefined) await this.#mount(ref, snapshot, directory);
    faultPoint('zfs.mounted');
    const { root = '/' } = ref.data;
    await showReadOnly(directory, root, shown);
    return { snapshot: ref, path: directory };
  }

  async #isOf(ref: SnapshotRef, snapshot: string, shown: Mount): Promise<boolean> {
    if (ref.data['kind'] === 'filesystem') return shown.fstype === 'zfs' && shown.source === snapshot;
    const stack = await readBlockStack(shown.majorMinor);
    return await isCloneOf(stack?.[0].name, ref.name);
  }

  /** A dataset's by mount(8), and not by `.zfs`, where the whole host would see it come and go by itself. */
  async #mount(ref: SnapshotRef, snapshot: string, directory: string): Promise<void> {
    if (ref.data['kind'] === 'filesystem') {
      await mountReadOnly({ source: snapshot, directory, fstype: 'zfs', options: [] });
      return;
    }
    const { partition } = ref.data;
    const device = await exposeZvol({
      snapshot,
      name: ref.name,
      run: nameOf(ref).run,
      partition: partition === undefined ? undefined : Number(partition),
      takenFrozen: ref.takenFrozen,
    });
    const options = zvolMountOptions(ref);
    await mountReadOnly({ source: device, directory, fstype: ref.fstype, options });
  }

  async unexpose(exposure: Exposure): Promise<void> {
    await unmount(exposure.path);
    faultPoint('zfs.unmounted');
  }

  /** Held, so that no job that prunes snapshots takes it. */
  async keep(ref: SnapshotRef): Promise<void> {
    await keepZfsSnapshot(nameOf(ref));
  }

  async remove(ref: SnapshotRef): Promise<void> {
    await this.#tool.settled(ref.name);
    await removeZfsSnapshot(nameOf(ref));
    faultPoint('zfs.destroyed');
  }
}
