/** A filesystem to freeze. */
export interface FreezeTarget {
  mountpoint: string;
  /** Of its superblock; the freeze is refused when the mountpoint no longer shows it. */
  majorMinor: string;
  device: string;
  fstype: string;
}

export interface FreezeOptions {
  /** The dead-man's N: thawed when no reset came for so long. Null: no timeout, `maxHoldMs` alone. */
  timeoutMs: number | null;
  /** Thawed so long after the first FIFREEZE, resets or not. */
  maxHoldMs: number;
}

/** Why a freeze ended before it was asked to. */
export type LossReason = 'timeout' | 'max-hold' | 'holder-died' | 'third-party' | 'guard-died' | 'signal';

/** How one filesystem's freeze went. */
export interface FreezeOutcome {
  target: FreezeTarget;
  /** Undefined when it was held from FIFREEZE to FITHAW. */
  lost: LossReason | undefined;
  /** From the entry of FIFREEZE to the return of FITHAW. */
  frozenMs: number;
  freezeCallMs: number;
  thawMs: number;
}

/**
 * A set of filesystems that can be frozen together, its dead-man running already. One set is frozen and thawed once;
 * for another try, arm another.
 */
export interface Freezer {
  /** What weakens the guarantee here: `not in a cgroup of its own`, `PID namespace`; for the report. */
  readonly warnings: readonly string[];
  readonly watchdogPids: readonly number[];
  /** Aborted as soon as this process learns that the freeze is lost; the reason is a LossReason. */
  readonly lost: AbortSignal;

  /**
   * Freezes all, in the order given (top-down), all or none, and starts the heartbeat.
   * Rejects with `notFrozen` (foreign freeze, unsupported); whatever was frozen is then thawed.
   */
  freeze(): Promise<void>;

  /**
   * Thaws all, bottom-up, and proves that each was held to the end. Resolves also when a freeze was lost (see
   * `lost` of each outcome). Rejects with `thawFailed` when one may still be frozen. Idempotent.
   */
  thaw(): Promise<FreezeOutcome[]>;

  /** Ends the watchdogs, after a thaw if one is due. Idempotent. */
  close(): Promise<void>;
}

/**
 * Takes the superblock locks, opens the mountpoints and starts the dead-man over them; nothing is frozen yet.
 * Rejects with `locked` when a living fsbackup holds one of them, `notFrozen` when a mountpoint is not what it was.
 */
export type ArmFreezer = (targets: readonly FreezeTarget[], options: FreezeOptions) => Promise<Freezer>;
