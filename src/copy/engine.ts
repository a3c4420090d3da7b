import type { Consistency, SnapshotRef } from '../snapshots/provider.js';
import type { Journal } from '../journal/journal.js';
import type { BackupRef } from './backup/backup-layout.js';
import type { Differences } from './digests/digest-compare.js';
import type { EngineName } from '../engine-names.js';
import type { CopyDigests } from './copy-digests.js';
import type { FoundBackup } from './repository/found-backup.js';
import type { Origins } from './backup/tree-origins.js';

export type { EngineName } from '../engine-names.js';
export type { CopyDigests } from './copy-digests.js';

/** One tree to copy. */
export interface CopySource {
  /** Absolute path that the tree has on the live system; where it lies inside the backup. */
  path: string;
  /** Where to read it: a directory inside the exposed snapshot. Other mounts below it are not entered. */
  readFrom: string;
  /** Patterns, rsync's syntax, relative to `path`; a leading `/` anchors there. */
  exclude: readonly string[];
  /** Names the tree on the live system that it is a state of (`treeOrigin`); absent: nobody asked. */
  origin?: string | undefined;
  /** The snapshot that `readFrom` lies in, for engines that send it; absent for a live tree. */
  snapshot?: SnapshotRef;
}

/** The list of the digests of what a backup holds (`digest-record.ts`), packed. */
export interface DigestList {
  file: string;
  /** What its digests are: `xxh128`, `md5`, `sha256`. Lists of different ones cannot be compared. */
  algorithm: string;
}

/** Where the digests of a copy go. */
export interface DigestRequest {
  /** The list to write. What the engine needs on the way is named after it, and gone once the copy is complete. */
  file: string;
  /** Of the backup at `parentDataDirectory`: files that are shared with it keep their digest. */
  parent: DigestList | undefined;
}

/** How far a copy has come. Totals are undefined where the engine cannot know them. */
export interface CopyProgress {
  bytes: number;
  /** No directories among them. 0 where the engine does not tell. */
  files: number;
  totalBytes?: number;
  totalFiles?: number;
  /** What was looked at, directories and what needs no copying too. */
  entries?: number;
  totalEntries?: number;
}

/** A snapshot that stays on the source after its run, for the next backup to be an increment of it: a base. */
export interface KeptSnapshot {
  snapshot: SnapshotRef;
  /** What proves that it is still the one that was copied: the engine's own words, a UUID or a guid. */
  identity: string;
}

/** What an increment can be made of: the snapshots that an earlier backup was made from, and that backup. */
export interface CopyBase {
  backupId: string;
  dataDirectory: string;
  snapshots: readonly KeptSnapshot[];
}

/** What a copy is asked for with. */
export interface CopyRequest {
  /** The name of the backup, for what the engine writes elsewhere than in its directory. */
  backup: Pick<BackupRef, 'job' | 'backupId'>;
  /** What the backup is worth, for what the engine notes of it in its repository. */
  consistency?: Consistency | undefined;
  /** Merged into one tree. Of nested sources each owns what lies below its path, with its own patterns. */
  sources: readonly CopySource[];
  /** Directory of this backup's data: exists, 0700, empty, or holds what an earlier attempt of this run copied. */
  dataDirectory: string;
  /** Data directory of the last complete backup of the same job and engine, to share unchanged files with. */
  parentDataDirectory: string | undefined;
  /**
   * What was shared with earlier backups may be damaged: nothing is shared with any of them, or with what an earlier
   * attempt left, unless its content was read and compared with the source's.
   */
  isParentDoubtful?: boolean | undefined;
  /**
   * What the trees of that backup were read from, on this host; undefined: nobody knows. Of what is not the same now
   * (`unprovenTrees`) nothing is shared unless its content was read.
   */
  parentOrigins?: Origins | undefined;
  /** The id of that backup, for an engine that makes increments of it: see `CopyResult.needs`. */
  parentBackupId?: string | undefined;
  /** Of an engine that keeps bases: the last one, as it is recorded. Whether it is still there is for the engine to see. */
  base?: CopyBase | undefined;
  /** For what outlives the process and the engine must not leave behind; absent: it may hold nothing of that kind. */
  journal?: Journal | undefined;
  /**
   * So many bytes a second, at most, are written to the target or sent to it; undefined: as many as go. Of a target for which
   * `whyUnlimitable` gives no reason.
   */
  limitBytesPerSecond?: number | undefined;
  /** Digests are taken from what is read of the sources while it is copied, and not from the copy. */
  digests?: DigestRequest | undefined;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** What a copy brought. */
export interface CopyResult {
  /**
   * Size of all regular files of the tree, holes included, as the engine counts them: rsync counts a file once per
   * hard-linked name and adds the length of symlinks, tar counts it once. Of an engine that sends whole filesystems:
   * what it sent.
   */
  bytes: number;
  /**
   * Count of all entries that are not directories; of sockets only where the engine can keep them (rsync). Of an engine
   * that sends whole filesystems: their number.
   */
  files: number;
  /**
   * What could not be copied, as paths on the live system, unprintable bytes escaped: the backup is partial
   * (exit 41). Bounded: the first 100.
   */
  unreadable: readonly string[];
  /** Of a copy that was asked for them, by an engine that can take them. */
  digests?: CopyDigests;
  /** The ids of the backups without which this one cannot be restored: retention keeps them with it. */
  needs?: readonly string[];
  /** The snapshots that the next backup can be an increment of: they are kept from now on, and those of before go. */
  keep?: readonly KeptSnapshot[];
  /** What somebody should know who believes that all went as usual: an increment that could not be made. */
  warnings?: readonly string[];
}

/** What a verification is asked for with. */
export interface VerifyRequest {
  dataDirectory: string;
  /** `quick`: the engine's own check, or that all entries are there. `full`: every byte is read and compared. */
  mode: 'quick' | 'full';
  /** Undefined: the backup has none, and what can be checked without is. */
  digests: DigestList | undefined;
  /** Live paths that the backup is known to lack. */
  notInBackup: readonly string[];
  /** A directory to work in: exists, empty, removed by the caller. */
  scratch: string;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** What a check of a restored backup is asked for with. */
export interface CheckRestoredRequest extends Omit<VerifyRequest, 'mode'> {
  /** Where it was restored to. */
  restored: string;
  /** As `RestoreRequest.journal`. */
  journal?: Journal | undefined;
}

/** What is asked of a list. */
export interface ListRequest {
  dataDirectory: string;
  signal: AbortSignal;
}

/** What a verification found. */
export interface VerifyFindings extends Differences {
  /** Entries that are not directories; undefined where the check does not count. */
  files: number | undefined;
  /** Of the regular files that were read. */
  bytes: number;
  /** What is wrong as a whole, or cannot be read. */
  problems: string[];
}

/** One entry of a backup. */
export interface BackupEntry {
  /** As on the live system (`byte-path.ts`). */
  path: string;
  isDirectory: boolean;
}

/** What a mount is asked for with. */
export interface MountRequest {
  dataDirectory: string;
  /** An empty directory. */
  directory: string;
  signal: AbortSignal;
}

/**
 * How the backups of an engine are shown at a directory, read-only, with nosuid, nodev and noexec. Either kind is undone
 * by umount(8) at any time.
 */
export type Mounting =
  /** A mount of the kernel's own: it outlives the command. */
  | { kind: 'kernel'; mount(request: MountRequest): Promise<void> }
  /**
   * A process that must stay, as with FUSE: `serve` calls `onMounted` once the directory shows the backup, resolves when
   * it was unmounted, and rejects with `failed` when it broke off before. An abort ends it and unmounts.
   */
  | { kind: 'process'; serve(request: MountRequest & { onMounted: () => void }): Promise<void> };

/** What a restore is asked for with. */
export interface RestoreRequest {
  dataDirectory: string;
  /** The `path` of every source that the backup holds, as its manifest tells. */
  sources: readonly string[];
  /** Where `/srv/x` of the backup becomes `<destination>/srv/x`. */
  destination: string;
  /**
   * There is nothing in the destination. Else what lies there may have the size and time of what is restored, and another
   * content: it is overwritten all the same.
   */
  isEmpty?: boolean | undefined;
  /** Live paths that the backup is known to lack: what it may hold in their place is not restored. */
  notInBackup?: readonly string[] | undefined;
  /** Absolute paths as they were on the live system, whatever their bytes (`byte-path.ts`); empty restores all. */
  paths: readonly string[];
  /**
   * For an engine that `choosesWhenOpen`, in place of `paths`: asked once, when it can tell what the backup holds; what
   * it rejects with, the restore rejects with, and has written nothing.
   */
  choose?: ((entries: () => AsyncIterable<BackupEntry>) => Promise<readonly string[]>) | undefined;
  /**
   * Of the directories above `paths`, those that get their owner, mode and times from the backup; the others are left
   * as they are. Undefined: all of them.
   */
  parents?: readonly string[] | undefined;
  /**
   * Begins the argument array of every program that works in `destination`: that is what such a program sees, and need
   * not be there for anybody else.
   */
  under?: readonly string[] | undefined;
  /** Where `destination` is on the live system, if it is what programs by `under` alone see; absent: there. */
  liveDestination?: string | undefined;
  /** For what is made on the way and must not outlive the restore; absent: what a kill leaves, nobody removes. */
  journal?: Journal | undefined;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** What a restore of a whole filesystem, as it lay on its device, is asked for with. */
export interface ImageRestoreRequest {
  dataDirectory: string;
  /** The `path` of the source whose filesystem is wanted. */
  source: string;
  /** A block device, or a file, which is made when it is not there. */
  destination: string;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** What a removal is asked for with. */
export interface RemoveRequest {
  /** Of the backup that goes; may lack what a copy that was cut short did not come to write. */
  dataDirectory: string;
  backup: Pick<BackupRef, 'job' | 'backupId'>;
  signal?: AbortSignal | undefined;
}

/**
 * One way to copy. Every implementation passes `test/contract/copy-engine.ts`.
 *
 * All methods reject with `FsbackupError` (`copyFailed`, `usage`) on failure.
 */
export interface CopyEngine {
  readonly name: EngineName;

  /** Before any freeze: the tools are there. Returns their versions for the manifest, e.g. `{rsync: '3.2.7'}`. */
  preflight(): Promise<Record<string, string>>;

  /**
   * Of an engine with repositories, before any freeze: the repository is there and answers, or is made if it is not
   * and `initialise` is true. Returns what tells it from every other one. Rejects with `usage`: as `NoRepositoryError`
   * where it is certain that there is none yet.
   */
  openRepository?(request: { initialise: boolean; signal?: AbortSignal | undefined }): Promise<string>;

  /**
   * Copies; may be called again for the same directory after a failure and then completes it. Rejects with an error
   * for which `isRetryable` is true when the connection to source or target was lost. Nothing is synced to disk:
   * `completeBackup` does that.
   */
  copy(request: CopyRequest): Promise<CopyResult>;

  /** Brings back owner, mode, times, xattrs, ACLs, hard links, holes and device nodes; deletes nothing. */
  restore(request: RestoreRequest): Promise<CopyResult>;

  /** Whether `restore` heeds `under` and `parents`: proven by `test/contract/restore-in-place.ts`. */
  readonly restoresInPlace?: true;

  /**
   * Whether it heeds `under` alone, as one that restores in place does anyway. Else it restores to a private directory in the
   * destination, and writes nothing else there before that is moved into place.
   */
  readonly restoresUnder?: true;

  /** Of an engine that keeps filesystems as they lie on their devices: writes one back, whole. */
  restoreImage?(request: ImageRestoreRequest): Promise<CopyResult>;

  /** What it holds can be told only once it is unpacked, which a restore does: `restore` heeds `choose`. */
  readonly choosesWhenOpen?: true;

  /** Undefined: its backups cannot be mounted, only restored. */
  readonly mounting?: Mounting;

  /** Without `mounting`: how a backup can be looked into all the same, as a sentence; undefined where only restores do. */
  howToLook?(dataDirectory: string): Promise<string | undefined>;

  /**
   * All that a backup holds, in any order, without its content, as a stream: memory does not grow with it. Only for
   * engines whose backups have no list of digests, which tells as much.
   */
  list?(request: ListRequest): AsyncIterable<BackupEntry>;

  /**
   * How many bytes a restore of all of it takes, what must be unpacked on the way included, holes counted as data: more
   * rather than less. Only for engines whose manifests tell of what was sent, and not of what that makes.
   */
  roomToRestore?(request: ListRequest): Promise<number>;

  /**
   * Compares what `restore` made of all of a backup with the backup, and with its digests; as `verify`. Without it, only
   * the number of files is compared.
   */
  checkRestored?(request: CheckRestoredRequest): Promise<VerifyFindings>;

  /** Compares the data with its digests. What is wrong with it is in the findings; rejects when it could not look. */
  verify(request: VerifyRequest): Promise<VerifyFindings>;

  /**
   * Of an engine that keeps a backup elsewhere than in its directory: takes it away there, before the directory goes.
   * Also for one that was cut short. Idempotent: resolves for what is not there any more.
   */
  remove?(request: RemoveRequest): Promise<void>;

  /** Of an engine with repositories: the backups that the repository itself tells of, in any order. */
  find?(signal: AbortSignal): Promise<FoundBackup[]>;

  /**
   * Of an engine that `find` tells of digests by: brings their list to `file`, and may leave part of it there when it
   * rejects. False: the repository has none any more. What comes is not checked.
   */
  fetchDigests?(request: { dataDirectory: string; file: string; signal: AbortSignal }): Promise<boolean>;
}
