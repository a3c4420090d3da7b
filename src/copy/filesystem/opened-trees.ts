import type { Journal } from '../../journal/journal.js';
import type { CopyProgress } from '../engine.js';
import type { TreesToRestore } from './mounted-trees.js';

/** What a backup is opened with. */
export interface OpenRequest {
  dataDirectory: string;
  /** A private directory, with room for what must be unpacked; emptied by the caller. */
  scratch: string;
  /** For what would outlive us, and is not gone with `scratch`. */
  journal?: Journal | undefined;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** A backup of whole filesystems whose trees can be read. */
export interface OpenedTrees extends TreesToRestore {
  /** Looks at the filesystems themselves, beside their trees: tells what is wrong with them. */
  check?: () => Promise<string[]>;
  /**
   * Each time that it is opened, the root of a tree may have another time: `btrfs receive` makes there what has no place
   * yet, and is not told to set back the time of a root that did not change.
   */
  rootTimesVary?: boolean;
  /** What somebody should know who restores from them, each a sentence without its full stop. */
  warnings?: readonly string[];
}

/** Makes the trees of a backup readable for as long as `use` lasts. Rejects with `copyFailed`, or as `use` does. */
export type OpenTrees = <T>(request: OpenRequest, use: (opened: OpenedTrees) => Promise<T>) => Promise<T>;
