import type { RetentionResult } from '../retention/apply.js';
import type { BaseStore } from '../copy/filesystem/base-store.js';
import type { CopyDigests, DigestRequest } from '../copy/engine.js';
import type { EngineFor } from '../copy/engines.js';
import type { Origins } from '../copy/backup/tree-origins.js';
import type { SnapshotCommands } from '../config/types.js';
import type { ArmFreezer, FreezeTarget, GuardedDevice } from '../freeze/freezer.js';
import type { Journal } from '../journal/journal.js';
import type { PlannedTarget, PlannedTree } from '../plan/plan.js';
import type { RunProgram } from '../quiesce/hooks.js';
import type { FilesystemFacts, ProviderName, SnapshotProvider } from '../snapshots/provider.js';
import type { FilesystemIdentity } from '../system/filesystem-identity.js';
import type { UnitProgram } from '../system/unit-programs.js';
import type { RunReport } from '../report/run-report.js';
import type { LookBelow } from './made-since.js';
import type { Timeline } from './timeline.js';

/** Where one backup is written to. */
export interface BackupSpace {
  dataDirectory: string;
  /** Of the last complete backup of the same job and engine. */
  parentDataDirectory: string | undefined;
  /** The id of that one. */
  parentBackupId?: string | undefined;
  /** What that one was read from, on this host; undefined: nobody knows. */
  parentOrigins?: Origins | undefined;
  /** What should be known of the backups that are there: sentences without their full stop. */
  warnings?: readonly string[];
  digests?: DigestRequest;
}

/** Names one backup in one target: known before it exists, so that the journal can. */
export interface BackupName {
  target: PlannedTarget;
  job: string;
  backupId: string;
}

/** What a finished backup is recorded with. */
export interface BackupFacts {
  report: RunReport;
  files: number;
  bytes: number;
  tools: Readonly<Record<string, string>>;
  sources: readonly string[];
  /** What they were read from; absent: nobody asked. */
  origins?: Origins;
  unreadable: readonly string[];
  digests?: CopyDigests | undefined;
  /** The ids of the backups that it cannot be restored without. */
  needs?: readonly string[] | undefined;
}

/** The backups in the targets, as a run needs them. */
export interface BackupWriter {
  /** Before any freeze: the target is there, is what it was, and can take a backup. Rejects with `usage`. */
  preflight(
    target: PlannedTarget,
    job: string,
    sources: readonly Pick<PlannedTree, 'path' | 'exclude'>[],
  ): Promise<void>;
  /** The filesystem of the target as the preflight found it, for the journal; undefined where it could not be known again. */
  storage(name: Pick<BackupName, 'target' | 'job'>): FilesystemIdentity | undefined;
  /**
   * Makes the place for a backup; it stays incomplete until `complete`. Its filesystem is held until then, or until
   * `discardIncomplete`.
   */
  begin(name: BackupName): Promise<BackupSpace>;
  /** Writes the manifest, atomically; not before all that was written since `begin` is on disk, whoever was told that it is not. */
  complete(name: BackupName, facts: BackupFacts): Promise<void>;
  /** The data directory of a backup that is complete; undefined when it is not, or not there. */
  completeData(name: BackupName): Promise<string | undefined>;
  /**
   * Why what a complete backup stores is not to be built on unseen, a clause: it, or another that it may share data with,
   * failed a verification, or lacks what it needs. Undefined: nothing speaks against it.
   */
  doubt(name: BackupName): Promise<string | undefined>;
  /**
   * Removes a backup that has no manifest; one that is complete, or not there, is left alone. With `mayKeep` what the
   * job's next run can go on from stays for it: returns where. Idempotent. Rejects with
   * `AbsentStorageError` where it is not to be seen since `storage` is not: that which the journal has of it.
   */
  discardIncomplete(
    name: BackupName,
    how?: { mayKeep: boolean; storage?: FilesystemIdentity | undefined },
  ): Promise<string | undefined>;
}

/** What a removal is done with. */
export interface RetainUsing {
  /** Of the run that asks: the id of the backup that it made. */
  runId: string;
  journal: Journal;
  signal: AbortSignal;
}

/** What the execution of a plan works with: the host's own, or a test's. */
export interface ExecuteDependencies {
  arm: ArmFreezer;
  /** The device-mapper devices below these filesystems, see `findGuardedDevices`. */
  guardedDevices: (filesystems: readonly FilesystemFacts[]) => Promise<GuardedDevice[]>;
  provider: (name: ProviderName, commands: SnapshotCommands | undefined) => SnapshotProvider;
  engine: EngineFor;
  backups: BackupWriter;
  /** The snapshots that stay between runs. */
  bases: BaseStore;
  /** Removes those of a job's backups in a target that its rules do not keep. */
  retain: (target: PlannedTarget, job: string, using: RetainUsing) => Promise<RetentionResult>;
  journal: Journal;
  timeline: Timeline;
  runProgram: RunProgram;
  /** What systemd kills when this process ends, see there. */
  readUnitPrograms: () => Promise<UnitProgram[] | undefined>;
  /** Whether somebody may hold it frozen, see `looksFrozen`. */
  looksFrozen: (filesystem: FreezeTarget) => Promise<boolean | undefined>;
  /** Rejects with `locked` when fsbackup holds it frozen, see `refuseHeld`. */
  refuseHeld: (filesystem: FreezeTarget) => Promise<void>;
  /** Rejects with `notFrozen` when the filesystem of a directory is frozen, or hangs; see `requireAnswer`. */
  requireAnswer: (directory: string, options: { signal: AbortSignal }) => Promise<unknown>;
  /** Finds what lies below a tree. */
  lookBelow: LookBelow;
  /** Names the tree at a directory of a mounted filesystem, see there. */
  treeOrigin: (filesystem: FilesystemFacts, directory: string) => Promise<string>;
  /** Names the mount that shows a directory, see `shownMount`. */
  shownMount: (directory: string) => Promise<string | undefined>;
  /** syncfs(2) of the filesystem at this mountpoint; nobody waits for it any more once `signal` is aborted. */
  syncFilesystem: (mountpoint: string, signal: AbortSignal) => Promise<void>;
  /** Snapshots are exposed in numbered directories below this one: the same for every run of the job. */
  mountDirectory: string;
  /** Between two tries. */
  retryDelayMs: number;
  /** Between two looks at the snapshots that are being copied. */
  watchIntervalMs: number;
}
