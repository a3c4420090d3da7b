import { begunAt, isBackupId } from '../backup/backup-layout.js';
import type { CopySource } from '../engine.js';
import { unprovenTrees, type Origins } from '../backup/tree-origins.js';

/** A tree of an earlier copy that unchanged files may be linked from. */
export interface LinkedTree {
  directory: string;
  /** No later than what is in it was read, by the clock of this host; undefined: nobody knows. */
  takenAt: Date | undefined;
  /** What it was read from. */
  origins?: Origins | undefined;
}

/** How unchanged files are linked from trees of earlier copies. */
export interface Linking {
  from: readonly string[];
  /** What is unchanged is found out by reading it, at both ends. */
  byContent: boolean;
  /**
   * Where it is not: of what changed in any way since then, by its ctime, the content is compared. Undefined: nothing is
   * linked.
   */
  since: Date | undefined;
}

/** When the run of a backup began; undefined for an id of digits that are no date. */
export function takenAt(backupId: string | undefined): Date | undefined {
  if (backupId === undefined || !isBackupId(backupId)) return undefined;
  const begun = begunAt(backupId);
  return Number.isNaN(begun.getTime()) ? undefined : begun;
}

/**
 * How to link from `trees`. Size and time do not prove that the content is the same, but the ctime, which nobody can
 * set, tells what may have changed: unless it is not known since when, or the clock was set back since. Pure.
 */
export function linkingFrom(
  trees: readonly LinkedTree[],
  { byContent, now }: { byContent: boolean; now: Date },
): Linking {
  const from = trees.map(({ directory }) => directory);
  const times = trees.map((tree) => tree.takenAt?.getTime() ?? Number.POSITIVE_INFINITY);
  if (byContent || times.some((time) => time > now.getTime()))
    return { from, byContent: true, since: undefined };
  return { from, byContent: false, since: times.length === 0 ? undefined : new Date(Math.min(...times)) };
}

/** The paths of the sources that are compared by content in any case: one of the trees is not known to be of the same. */
export function readAnew(
  sources: readonly Pick<CopySource, 'path' | 'origin'>[],
  trees: readonly LinkedTree[],
): Set<string> {
  return new Set(trees.flatMap(({ origins }) => [...unprovenTrees(sources, origins)]));
}
