import type { FilesystemInUse } from '../system/in-use.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import type { NestedFreeze } from '../system/nested-freeze.js';

/** Something below a source that a snapshot of the source's filesystem shows as an empty directory. */
export interface NestedTree {
  kind: 'submount' | 'subvolume';
  /** Where it is, absolute and free of symbolic links. */
  path: string;
  fstype: string;
  /** Absent where nothing will be read of it, and where it cannot be: then `problem` says why. */
  filesystem?: FilesystemFacts;
  problem?: string;
}

/** A configured source as it lies on this host. */
export interface SourceFacts {
  /** As configured. */
  path: string;
  /** The same, free of symbolic links. */
  realPath: string;
  filesystem: FilesystemFacts;
  nested: readonly NestedTree[];
  /** ZFS datasets below the source's own that are mounted nowhere; looked for where the source is recursive. */
  unmounted?: readonly string[];
  /**
   * Where /etc/fstab has a filesystem below the source, and none is mounted: absolute and free of symbolic links; looked
   * for where the source is recursive.
   */
  absent?: readonly string[];
  /** There is something at its own path below it (`/srv/srv` in `/srv`); looked for where an exclude begins so. */
  hasOwnPathBelow?: boolean;
}

/** A configured target as it lies on this host; of a repository, the directory that it lies in. */
export interface TargetFacts {
  path: string;
  realPath: string;
  /** Of the filesystem that it lies on. */
  majorMinor: string;
  mountpoint: string;
}

/** All that planning is told of the host: gathered once, plain data. */
export interface HostFacts {
  /** In the order of the job's sources. */
  sources: readonly SourceFacts[];
  /** In the order of the job's targets, without repositories that do not lie on this host. */
  targets: readonly TargetFacts[];
  /** What fsbackup itself, or the machine, needs during a run. */
  inUse: readonly Pick<FilesystemInUse, 'what' | 'majorMinor'>[];
  /**
   * For each filesystem (`major:minor`) that lies over others, in an image file or as an overlay, those that it is
   * written to.
   * A filesystem that lies on no other may be left out.
   */
  layers: Readonly<Record<string, readonly string[]>>;
  /** Tested only where a plan depends on it. */
  nestedFreeze: NestedFreeze;
  /** False inside a container: the end of its PID namespace kills the watchdogs too. */
  initialPidNamespace: boolean;
  /** Of the backups that new ones would be made from: what is not to be built on unseen, as warnings. */
  doubts: readonly string[];
}
