import type { EngineName } from '../copy/engine.js';
import type { ExitName } from '../exit-codes.js';
import type { Consistency, FreezeMode, ProviderName } from '../snapshots/provider.js';

/** What became of one filesystem of a job. Milliseconds are null where the step did not happen. */
export interface SourceReport {
  mountpoint: string;
  /**
   * Where it was mounted: `mountpoint`, or above it where that is a subvolume's directory. Absent in reports of before
   * there was this.
   */
  mountedAt?: string;
  /** Other mounts of the same filesystem that trees were read through: the one snapshot served them too. */
  otherMountpoints?: string[];
  device: string;
  fstype: string;
  provider: ProviderName | 'none';
  freezeMode: FreezeMode;
  freezeModeReason: string;
  /**
   * `explicit`: from the entry of FIFREEZE to the return of FITHAW. `native`: how long the device-mapper device was
   * suspended, as an upper bound; null where the snapshot command works on none.
   */
  frozenMs: number | null;
  freezeCallMs: number | null;
  snapshotMs: number | null;
  /**
   * What was written before the first of these instants is in the snapshot (where `consistency` is `crash`: what was synced
   * before it), what was begun after the second is not.
   * `explicit`: frozen from the one to the other, so that nothing was written in between. Rounded outwards to
   * milliseconds, by the wall clock as it was set just after the window. Null without a snapshot, and in reports of
   * before there were these two.
   */
  snapshotStartedAt: string | null;
  snapshotFinishedAt: string | null;
  thawMs: number | null;
  /** The snapshot's name, also after its removal. */
  snapshot: string | null;
  /**
   * Sources with the same number are at one instant with each other. Null without a snapshot, and in reports of before
   * there was this.
   */
  instant: number | null;
  consistency: Consistency;
  /** How many times the window was tried. */
  attempts: number;
}

/** One backup that was written. */
export interface CopyReport {
  target: string;
  engine: EngineName;
  backupId: string;
  bytes: number;
  files: number;
  durationMs: number;
  /** So many were written or sent in a second, at most; absent: there was no limit. */
  limitBytesPerSecond?: number;
}

/** A target that has no backup of this run. */
export interface FailedCopyReport {
  target: string;
  engine: EngineName;
  error: ErrorReport;
}

/** What a job's rules did in one target after its backup. */
export interface RetentionReport {
  target: string;
  /** How many backups of the job stay there. */
  kept: number;
  /** Ids of those that were removed. */
  removed: string[];
  /** Ids of those that were to be, and could not. */
  failed: string[];
}

/** A failure as the report tells it. */
export interface ErrorReport {
  code: ExitName;
  exitCode: number;
  message: string;
  hint: string;
}

/** One step of the timeline, for people and for the record. */
export interface StepReport {
  step: string;
  /** Since the start of the job. */
  startMs: number;
  durationMs: number;
  /** True for steps that run while a filesystem is frozen. */
  frozen: boolean;
}

/** The object that `run --json` prints for a job, and that a manifest carries: stable. Times RFC 3339. */
export interface RunReport {
  version: 1;
  job: string;
  runId: string;
  outcome: 'success' | 'warnings' | 'failed' | 'interrupted';
  exitCode: number;
  /** The weakest of the sources'. */
  consistency: Consistency;
  /** Whether all sources are at one instant, as it happened; null in reports of before there was this. */
  oneInstant: boolean | null;
  startedAt: string;
  finishedAt: string;
  freeze: { timeoutSeconds: number | null; heartbeatSeconds: number | null; maxHoldSeconds: number };
  sources: SourceReport[];
  copies: CopyReport[];
  /** Only when there are some. The others have theirs all the same. */
  failedCopies?: FailedCopyReport[];
  steps: StepReport[];
  /** Only with `keep`: of the targets whose backup lacks nothing. */
  retention?: RetentionReport[];
  /** Only when there is some: what lies below the sources and is in no backup, although nobody excluded it. */
  leftOut?: string[];
  warnings: string[];
  /** The one that the exit code is of. */
  error?: ErrorReport;
  /** Only when there are some: what went wrong beside `error` and `failedCopies`. */
  otherErrors?: ErrorReport[];
}
