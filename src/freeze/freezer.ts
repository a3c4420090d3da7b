import type { CommandWatch } from '../system/run-command.js';

/** A filesystem to freeze. */
export interface FreezeTarget {
  mountpoint: string;
  /** Of its superblock; the freeze is refused when the mountpoint no longer shows it. */
  majorMinor: string;
  device: string;
  fstype: string;
}

/** A device-mapper device that a snapshot command may suspend, and may leave suspended when it dies. */
export interface GuardedDevice {
  majorMinor: string;
  /** As dmsetup names it: `vg-srv`. */
  name: string;
  /** Of the filesystems that lie on it, or on the origin whose snapshot it belongs to. */
  mountpoints: readonly string[];
  /** Of a classic snapshot that an origin below the filesystems has already: the name of that origin's device. */
  snapshotOf?: string;
}

/** What the dead-man watches over. One of the two lists may be empty. */
export interface FreezeRequest {
  /** To freeze, in this order: top-down. */
  targets: readonly FreezeTarget[];
  /** To resume should a snapshot command leave them suspended; none of them is now. The upper before the lower. */
  devices: readonly GuardedDevice[];
}

export interface FreezeOptions {
  /** The dead-man's N: thawed when no reset came for so long. Null: no timeout, `maxHoldMs` alone. */
  timeoutMs: number | null;
  /** Thawed so long after the first FIFREEZE, resets or not. */
  maxHoldMs: number;
}

/** Why a freeze ended before it was asked to. */
export type LossReason = 'timeout' | 'max-hold' | 'holder-died' | 'third-party' | 'guard-died' | 'signal';

/** `left-suspended`: the snapshot command was gone, and a device that it had suspended was not resumed. */
export type DeviceLossReason = LossReason | 'left-suspended';

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

/** How one guarded device fared. */
export interface DeviceOutcome {
  device: GuardedDevice;
  /** Undefined when no snapshot command was cut short and no device left suspended. The same for all of a set. */
  lost: DeviceLossReason | undefined;
  /** It was found suspended at the end, and resumed for the command that did not: what made that wants a look. */
  resumed: boolean;
  /**
   * How long it was suspended, as an upper bound: from the last look that saw it running to the first that did again.
   * When no look saw it suspended, the longest time between two looks. The kernel shows a device suspended only once
   * the filesystem on it is frozen, so what that freeze had to write first is not in it.
   */
  suspendedMs: number;
}

/** How a window went. */
export interface ThawOutcome {
  /** One per target that was frozen. */
  filesystems: readonly FreezeOutcome[];
  /** One per device. */
  devices: readonly DeviceOutcome[];
}

/**
 * A set of filesystems that can be frozen together, and of devices that may be suspended meanwhile, its dead-man
 * running already. One set is frozen and thawed once; for another try, arm another.
 */
export interface Freezer {
  /** What weakens the guarantee here: `not in a cgroup of its own`, `PID namespace`; for the report. */
  readonly warnings: readonly string[];
  readonly watchdogPids: readonly number[];
  /** Aborted as soon as this process learns that the freeze is lost; the reason is a LossReason or DeviceLossReason. */
  readonly lost: AbortSignal;

  /**
   * Freezes all targets, in the order given (top-down), all or none, and starts the deadline and the heartbeat, for the
   * devices too. Rejects with `notFrozen` (foreign freeze, unsupported); whatever was frozen is then thawed.
   */
  freeze(): Promise<void>;

  /**
   * Instead of `freeze`: freezes and thaws each target in turn, for as short as it can be done, and the proof that nobody
   * held it frozen. One that cannot be frozen is passed over. Rejects as `freeze` does; a freeze that somebody else holds
   * stays as it is. The locks are kept until `close`.
   */
  probe(): Promise<void>;

  /**
   * Tells the dead-man of a program that may suspend the devices: to be called just before it is started. When the
   * dead-man has to resume a device it first kills the process group of each such program that has not ended.
   */
  watchCommand(): CommandWatch;

  /**
   * Thaws all, bottom-up, and proves that each was held to the end and that no device is left suspended. Programs that
   * still run have a second to end by themselves. Resolves also when something was lost (see `lost` of each outcome).
   * Rejects with `thawFailed` when one may still be frozen or suspended. Idempotent.
   */
  thaw(): Promise<ThawOutcome>;

  /** Ends the watchdogs, after a thaw if one is due. Idempotent. */
  close(): Promise<void>;
}

/**
 * Takes the superblock locks, opens the mountpoints and starts the dead-man over them; nothing is frozen yet.
 * Rejects with `locked` when a living fsbackup holds one of them, `notFrozen` when a mountpoint is not what it was or a
 * device is suspended already.
 */
export type ArmFreezer = (request: FreezeRequest, options: FreezeOptions) => Promise<Freezer>;
