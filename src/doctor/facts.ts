import type { EngineName } from '../engine-names.js';
import type { NestedFreezeVerdict } from '../system/nested-freeze.js';

/** What a program is needed for. */
export type Need =
  | 'every run'
  | `engine ${EngineName}`
  | 'provider reflink'
  | 'provider btrfs'
  | 'provider zfs'
  | 'provider lvm'
  | 'the self-test';

/** How starting both watchdogs went, over a filesystem that nothing can freeze. */
export type GuardsState =
  { armed: true; warnings: readonly string[] } | { armed: false; problem: string; hint: string };

/** One of fsbackup's own directories, or what is nearest above it and exists. */
export interface DirectoryState {
  path: string;
  /** What was looked at: `path` itself where it exists. */
  existing: string;
  fstype: string;
  isWritable: boolean;
  /** Only root, or this user, may write to it. */
  isPrivate: boolean;
}

/** A program as it was found. */
export interface ToolState {
  program: string;
  /** The Debian package that brings it. */
  package: string;
  need: Need;
  /** Undefined when it is not installed, or would not say. */
  version: string | undefined;
  isInstalled: boolean;
  /** Why what is installed does not do. */
  unfit: { message: string; hint: string } | undefined;
}

/** What dead runs, and others, have left on the host. */
export interface LeftoverState {
  /** Names of device-mapper devices that stayed suspended while we looked, the lowest first. */
  suspended: readonly string[];
  /** Held by us: `guards` as `status` has it. */
  frozen: readonly { mountpoint: string; guards: 'alive' | 'stopped' | 'dead'; owner: string }[];
  /** Of runs whose process is dead, one text each. */
  journalled: readonly string[];
  unreadable: readonly string[];
  /** Snapshots that are kept for increments, one text each. */
  kept: readonly string[];
  /** Why the records could not be read. */
  problem: string | undefined;
}

/** All that is known of the host itself. Plain data, gathered once. */
export interface HostState {
  /** Effective, as a bit mask: capabilities(7). */
  capabilities: bigint;
  isRoot: boolean;
  initialPidNamespace: boolean;
  guards: GuardsState;
  kernelRelease: string;
  nestedFreeze: NestedFreezeVerdict;
  /** Null: off, or not in this kernel. */
  hungTaskTimeoutMs: number | null;
  hungTaskPanics: boolean;
  canExpedite: boolean;
  hasLoop: boolean;
  /** Some device-mapper device is a logical volume. */
  hasLvm: boolean;
  runDirectory: DirectoryState;
  stateDirectory: DirectoryState;
  tools: readonly ToolState[];
  leftovers: LeftoverState;
}
