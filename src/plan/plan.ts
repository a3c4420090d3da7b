import type { KeepRules, QuiesceConfig, SnapshotCommands } from '../config/types.js';
import type { EngineTarget } from '../backup-target.js';
import type {
  Consistency,
  FilesystemFacts,
  FreezeMode,
  LvmSettings,
  ProviderName,
} from '../snapshots/provider.js';
import type { ErrorReport } from '../report/run-report.js';

/** One snapshot to take, or one filesystem to read live. */
export interface PlannedSource {
  mountpoint: string;
  /** Other mounts of the same filesystem that trees are read through: its one snapshot serves them too. */
  otherMountpoints?: readonly string[];
  device: string;
  fstype: string;
  /** Of the superblock. */
  majorMinor: string;
  provider: ProviderName | 'none';
  freezeMode: FreezeMode;
  freezeModeReason: string;
  /**
   * Those with the same number are at one instant (`numberInstants`); null without a snapshot. What makes several of one
   * window one instant, beside a freeze, is `together`.
   */
  instant: number | null;
  together?: string;
  /** What a copy of it will be worth when all goes well. */
  consistency: Consistency;
  /** Of the `command` provider. */
  commands?: SnapshotCommands;
  /** Of the `lvm` provider, where configured. */
  lvm?: LvmSettings;
  /** Whether the filesystem must be looked at after the run: that it can still be frozen, and is not. */
  proveOrigin?: boolean;
  /** What the provider is told of it. */
  filesystem: FilesystemFacts;
}

/** One tree to copy. */
export interface PlannedTree {
  /** As it is called on the live system and in the backup. */
  path: string;
  /** Index into the plan's sources. */
  source: number;
  /** From the root of the exposed snapshot; empty: the root itself. For a live copy the absolute path. */
  inside: string;
  exclude: readonly string[];
}

/** Filesystems that are frozen together, and the snapshots taken meanwhile. */
export interface PlannedWindow {
  /** Indexes into the plan's sources, in the order to freeze: top-down, one per filesystem. Empty: no freeze. */
  freeze: readonly number[];
  /** Indexes into the plan's sources: the snapshots to take. */
  snapshots: readonly number[];
}

export interface PlannedTarget extends EngineTarget {
  mustBeMountpoint: boolean;
  /** Absent: all backups are kept. */
  keep?: KeepRules;
  /** Of what is written or sent there by a copy; absent: no limit. */
  limitBytesPerSecond?: number;
}

/** The dead-man's times. */
export interface PlannedFreeze {
  /** Null: no timeout, the cap alone. */
  timeoutMs: number | null;
  /** The dead-man is reset so often: half of the timeout. Null without a timeout. */
  heartbeatMs: number | null;
  maxHoldMs: number;
}

/** One line of the timeline to come. */
export interface PlannedStep {
  step: string;
  detail: string;
  /** True while a filesystem is frozen. */
  frozen: boolean;
}

/** All that a run of one job will do: plain data, what `plan --json` and `run --dry-run` print. */
export interface Plan {
  version: 1;
  job: string;
  freeze: PlannedFreeze;
  attempts: number;
  /** The weakest of the sources'. */
  consistency: Consistency;
  /** Whether all sources are at one instant. */
  oneInstant: boolean;
  /** Whether a run that does not get that fails. */
  mustBeOneInstant: boolean;
  quiesce: readonly QuiesceConfig[];
  sources: readonly PlannedSource[];
  windows: readonly PlannedWindow[];
  trees: readonly PlannedTree[];
  /**
   * Mounts and subvolumes below the sources: each is a tree, or left out on purpose, or warned of. What is found there later
   * and is none of them was made since.
   */
  nested: readonly string[];
  /** Only when there are some: those of them, and of what is not mounted, that are warned of. */
  leftOut?: readonly string[];
  targets: readonly PlannedTarget[];
  steps: readonly PlannedStep[];
  warnings: readonly string[];
}

/** In the place of the plan of a job that cannot be run now: why. */
export interface UnplannedJob {
  version: 1;
  job: string;
  error: ErrorReport;
}
