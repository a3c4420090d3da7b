import type { EngineTarget } from '../backup-target.js';
import type { FreezeMode, LvmSettings, ProviderName } from '../snapshots/provider.js';

/** The dead-man's times. */
export interface FreezeSettings {
  /** The freeze is undone when no reset came for so long; null: no timeout, only the cap. */
  timeoutMs: number | null;
  /** The cap on one freeze, resets or not. */
  maxHoldMs: number;
}

/** The argument arrays of the `command` provider, with `{name}`, `{device}`, `{mountpoint}` to fill in. */
export interface SnapshotCommands {
  create: readonly string[];
  expose: readonly string[];
  /** Undoes `expose`; without it, what is mounted there is unmounted. */
  unexpose?: readonly string[];
  remove: readonly string[];
  /** Exits 0 when the snapshot exists; without it, existence is unknown and `remove` is always run. */
  exists?: readonly string[];
}

/** A tree to back up. */
export interface SourceConfig {
  /** Absolute: a mountpoint or a directory below one. */
  path: string;
  /** `none`: copy the live tree. */
  snapshot: 'auto' | 'none' | ProviderName;
  /** Present exactly when `snapshot` is `command`. */
  commands?: SnapshotCommands;
  /** Absent where nothing of it is configured. */
  lvm?: LvmSettings;
  freezeMode: 'auto' | Exclude<FreezeMode, 'none'>;
  exclude: readonly string[];
  /** Snapshot and copy nested subvolumes and submounts too. */
  recursive: boolean;
}

/**
 * Which backups to keep: each rule by itself, a backup is kept when any of them wants it. At least one rule; those that
 * are not there keep nothing. Without any rules at all nothing is ever removed.
 */
export interface KeepRules {
  /** So many of the newest. */
  last?: number;
  /** The newest of each of so many hours, days, … (UTC) that have a backup. */
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
  /** All that are no older than the newest one by more than this. */
  withinMs?: number;
}

/** Where a job's backups go. */
export interface TargetConfig extends EngineTarget {
  mustBeMountpoint: boolean;
  /** The target's own rules, or the job's; absent: keep all. */
  keep?: KeepRules;
  /** So many bytes a second, at most, are written or sent there by a copy; absent: as many as go. */
  limitBytesPerSecond?: number;
}

/** An application brought to rest around the freeze. */
export interface QuiesceConfig {
  name: string;
  before: readonly string[];
  after: readonly string[];
  timeoutMs: number;
}

/** How a backup of a job is restored to try it (`backups verify --drill`). */
export interface DrillConfig {
  /** Run on what was restored; `{directory}` is where `/srv/x` is `{directory}/srv/x`. Absent: none. */
  command?: readonly string[];
  timeoutMs: number;
  /** Where to restore to, in a directory of its own; absent: where there is room. */
  directory?: string;
}

/** One job, with every default filled in. */
export interface JobConfig {
  name: string;
  sources: readonly SourceConfig[];
  targets: readonly TargetConfig[];
  quiesce: readonly QuiesceConfig[];
  freeze: FreezeSettings;
  /** How often the window (freeze, snapshot, thaw) and a copy that lost its connection are tried. */
  attempts: number;
  /** Whether a run is refused whose sources cannot be at one instant. */
  mustBeOneInstant?: boolean;
  /** Absent: restored and compared, and nothing run. */
  drill?: DrillConfig;
  /** When `schedule install` has it run: a calendar event of systemd.time(7). */
  schedule?: string;
}

/** The whole configuration, validated and normalised: times in ms, paths absolute. */
export interface Config {
  version: 1;
  jobs: readonly JobConfig[];
}
