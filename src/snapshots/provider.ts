import type { CommandWatch } from '../system/run-command.js';
import type { Mount } from '../system/mountinfo.js';
import type { BlockStack } from '../system/block-stack.js';
import type { LoopImage } from '../system/loop-image.js';
import type { LogicalVolumeBelow } from '../system/lvm.js';
import type { NestedFreeze } from '../system/nested-freeze.js';
import type { ZfsVolume } from '../system/zfs.js';

/** The names a configuration may use; `auto` is resolved to one of these by the plan. */
export type ProviderName = 'reflink' | 'btrfs' | 'zfs' | 'lvm' | 'mirror' | 'command';

/**
 * How the filesystem is brought to rest around a snapshot:
 * `explicit` our FIFREEZE is held around it, `native` the snapshot command freezes by itself, `atomic` the storage
 * needs no freeze, `none` there is no snapshot and the live tree is copied.
 */
export type FreezeMode = 'explicit' | 'native' | 'atomic' | 'none';

/** The state a backup brings back. */
export type Consistency = 'application' | 'filesystem' | 'crash' | 'none';

/** What is known of one filesystem that a job reads: gathered once, before planning; never changed. */
export interface FilesystemFacts {
  /** Inside a nested btrfs subvolume, the mount narrowed to it: `mountpoint` and `root` are then the subvolume's. */
  mount: Mount;
  /** Of a btrfs: the device number (st_dev) that all of the subvolume of `mount` has, and no other subvolume. */
  subvolumeDevice?: string;
  /**
   * The block devices below the filesystem; undefined where it lies on none (nfs, tmpfs). A btrfs may lie on several:
   * that which it was mounted from comes first.
   */
  stack: BlockStack | undefined;
  /**
   * The image files behind the loop devices of the stack, or that its ZFS pool lies on, and behind those of the
   * filesystems that hold these, topmost first. What freezes or fills one of those filesystems stalls this one.
   */
  images?: readonly LoopImage[];
  /**
   * `major:minor` of all filesystems that are written to when this one is, each once: those that hold the images, and
   * those that an overlay writes to. Frozen, they stall this one.
   */
  below?: readonly string[];
  /** The logical volume that it lies on, straight or through LUKS or partitions; absent where it lies on none. */
  lvm?: LogicalVolumeBelow;
  /** Why that is not known although there is one: a clause. */
  lvmProblem?: string;
  /** The ZFS dataset that it is, or the zvol that it lies on. */
  zfs?: ZfsVolume;
  /** Free and total bytes of the filesystem, as far as root can fill it. */
  freeBytes: number;
  totalBytes: number;
}

/** What decides how a filesystem is snapshotted beside the filesystem itself: the kernel, and the rest of the job. */
export interface DetectionContext {
  /** What this kernel does when a device freezes itself below our freeze; `unknown` where nobody had to know. */
  nestedFreeze: NestedFreeze;
  /** Whether the job snapshots other filesystems too, which should be at one instant with this one. */
  grouped: boolean;
}

/** A provider's answer to "can you snapshot this?". */
export type Detection =
  | {
      suits: true;
      /** Best first; the plan takes the first that gives the consistency asked for. */
      freezeModes: readonly FreezeMode[];
      /** One clause for plan and report: why this mode. */
      reason: string;
      /**
       * `major:minor` of the filesystems that taking the snapshot writes to. None of them may be frozen meanwhile:
       * the plan puts such sources in freeze groups of their own.
       */
      writesTo: readonly string[];
      /** Snapshots of one window that name the same, and are not held frozen by us, are made at one instant. */
      together?: string;
      /** Why it may be at another instant than the rest of the job, which plan and report warn of where it is: a clause. */
      apart?: string;
      /** Modes that someone might ask for, and why this host cannot have them: a clause. */
      refused?: Partial<Record<FreezeMode, string>>;
      /** Whether, on this kernel, a snapshot may leave its origin in a state that must be looked at afterwards. */
      proveOrigin?: boolean;
    }
  | {
      suits: false;
      reason: string;
      /** What would make it suit: given where the storage is of this provider's kind. */
      hint?: string;
    };

/**
 * A snapshot by name, known before it exists: journalled first, made afterwards. Plain JSON, and all that `find`,
 * `expose` and `remove` need, so that a later process can release what a dead one made.
 */
export interface SnapshotRef {
  provider: ProviderName;
  /** Unique over runs, e.g. `fsbackup-srv-20261123T184500Z-1a2b3c-0`. */
  name: string;
  /** Mountpoint of the origin filesystem. */
  mountpoint: string;
  fstype: string;
  /** True when the filesystem is frozen while the snapshot is made, by us or by its storage: it needs no log replay. */
  takenFrozen: boolean;
  /** The provider's own facts: paths, devices. */
  data: Readonly<Record<string, string>>;
}

/** How much room a classic LVM snapshot gets. */
export type SnapshotSize = 'auto' | { percentOfOrigin: number } | { bytes: number };

/** How snapshots of LVM are taken and kept. */
export interface LvmSettings {
  size: SnapshotSize;
  /** Whether a classic snapshot that fills up may take more of its volume group. */
  extend: boolean;
  /** A thin pool that is filled further, data or metadata, is given no snapshot, and a copy is ended. */
  poolThresholdPercent: number;
  /** With a key of the LUKS container that lies on the volume; needed where the kernel hides the one it uses. */
  keyFile?: string;
}

/** What a snapshot is asked for with. */
export interface SnapshotRequest {
  filesystem: FilesystemFacts;
  name: string;
  freezeMode: FreezeMode;
  /** Of the run, so that the snapshot can carry it. */
  runId?: string;
  lvm?: LvmSettings;
}

/** Where an exposed snapshot can be read. Plain JSON, journalled before it is acquired. */
export interface Exposure {
  snapshot: SnapshotRef;
  /** The directory given to `expose`: it shows, read-only, what the mount of the request showed of its filesystem. */
  path: string;
}

/** What `create` is called with. */
export interface CreateOptions {
  signal: AbortSignal;
  /** For every program that `create` runs: the dead-man must know whom to end before it resumes a device. */
  watchCommand?: () => CommandWatch;
}

/**
 * One kind of snapshot. Every implementation passes `test/contract/snapshot-provider.ts`.
 *
 * All methods reject with `FsbackupError` (`snapshotFailed`, `snapshotInvalid`, `usage`) on failure.
 */
export interface SnapshotProvider {
  readonly name: ProviderName;

  /** Pure: decides from facts alone. */
  detect(filesystem: FilesystemFacts, context: DetectionContext): Detection;

  /**
   * Before any freeze: proves that `create` can work (tools, room, support) and does all of its work that can be
   * done early. Returns the refs, in the order of `requests`; nothing that outlives the process is made.
   */
  prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]>;

  /** Lets go of what `prepare` holds in this process for a snapshot that is not to be made. Idempotent; else does nothing. */
  abandon?(ref: SnapshotRef): Promise<void>;

  /**
   * For what is to be frozen by us, once the journal knows of it and before the freeze: does what can be done early of
   * `create` and outlives the process. `remove` undoes it.
   */
  makeReady?(refs: readonly SnapshotRef[], options: { signal: AbortSignal }): Promise<void>;

  /**
   * Inside the window: makes all snapshots, at one instant where the storage can. No file, log or terminal write but
   * the snapshot itself. Rejects when any of them failed; some may then exist.
   */
  create(refs: readonly SnapshotRef[], options: CreateOptions): Promise<void>;

  /** Whether the snapshot exists: the answer to an ambiguous failure of `create`. */
  exists(ref: SnapshotRef): Promise<boolean>;

  /**
   * Asked again and again while the snapshot is read, and once more when it has been: rejects with `snapshotInvalid`
   * when the snapshot no longer holds what was taken, or is about to, for want of room. May make room for it.
   */
  checkIntact(ref: SnapshotRef): Promise<void>;

  /**
   * After the thaw: shows the snapshot read-only at `directory`, an empty directory that exists (0700): of its filesystem
   * the directory `mount.root` of the request, which may hold what several mounts show.
   * Idempotent: exposing what is exposed there is no error.
   */
  expose(ref: SnapshotRef, directory: string): Promise<Exposure>;

  /** Undoes `expose`; the directory itself stays. Idempotent. */
  unexpose(exposure: Exposure): Promise<void>;

  /**
   * Instead of `remove`, for a snapshot that stays as the base of an increment: releases what only its exposure needed,
   * such as an activated device or a clone, and holds the snapshot itself. `remove` removes it later. Idempotent.
   */
  keep?(ref: SnapshotRef): Promise<void>;

  /** Removes the snapshot. Idempotent: removing one that is not there resolves. */
  remove(ref: SnapshotRef): Promise<void>;
}
