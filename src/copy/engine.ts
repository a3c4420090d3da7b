/** The names a configuration may use. */
export type EngineName = 'rsync' | 'tar';

/** One tree to copy. */
export interface CopySource {
  /** Absolute path that the tree has on the live system; where it lies inside the backup. */
  path: string;
  /** Where to read it: a directory inside the exposed snapshot. Other mounts below it are not entered. */
  readFrom: string;
  /** Patterns, rsync's syntax, relative to `path`; a leading `/` anchors there. */
  exclude: readonly string[];
}

/** How far a copy has come. Totals are undefined where the engine cannot know them. */
export interface CopyProgress {
  bytes: number;
  files: number;
  totalBytes?: number;
  totalFiles?: number;
}

/** What a copy is asked for with. */
export interface CopyRequest {
  /** Merged into one tree. Of nested sources each owns what lies below its path, with its own patterns. */
  sources: readonly CopySource[];
  /** Directory of this backup's data: exists, 0700, empty, or holds what an earlier attempt of this run copied. */
  dataDirectory: string;
  /** Data directory of the last complete backup of the same job and engine, to share unchanged files with. */
  parentDataDirectory: string | undefined;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** What a copy brought. */
export interface CopyResult {
  /**
   * Size of all regular files of the tree, holes included, as the engine counts them: rsync counts a file once per
   * hard-linked name and adds the length of symlinks, tar counts it once.
   */
  bytes: number;
  /** Count of all entries that are not directories; of sockets only where the engine can keep them (rsync). */
  files: number;
  /**
   * What could not be copied, as paths on the live system, unprintable bytes escaped: the backup is partial
   * (exit 41). Bounded: the first 100.
   */
  unreadable: readonly string[];
}

/** What a restore is asked for with. */
export interface RestoreRequest {
  dataDirectory: string;
  /** The `path` of every source that the backup holds, as its manifest tells. */
  sources: readonly string[];
  /** Where `/srv/x` of the backup becomes `<destination>/srv/x`. */
  destination: string;
  /** Absolute paths as they were on the live system; empty restores all. */
  paths: readonly string[];
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
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
   * Copies; may be called again for the same directory after a failure and then completes it. Rejects with an error
   * for which `isRetryable` is true when the connection to source or target was lost. Nothing is synced to disk:
   * `completeBackup` does that.
   */
  copy(request: CopyRequest): Promise<CopyResult>;

  /** Brings back owner, mode, times, xattrs, ACLs, hard links, holes and device nodes; deletes nothing. */
  restore(request: RestoreRequest): Promise<CopyResult>;
}
