import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { mountOfPath, readMounts } from '../../system/mountinfo.js';
import type { SnapshotRef } from '../../snapshots/provider.js';
import type { CopySource, EngineName } from '../engine.js';

/** A snapshot that is to be sent whole, and the trees that somebody wants of it. */
export interface SnapshotToSend {
  ref: SnapshotRef;
  trees: {
    /** On the live system. */
    path: string;
    /** From what the exposed snapshot shows. */
    inside: string;
    /** From the root of the filesystem that it is mounted from. */
    insideFilesystem: string;
    readFrom: string;
  }[];
  /** Of the filesystem that the exposed snapshot is. */
  majorMinor: string;
}

/**
 * The snapshots that these sources lie in, each once. Rejects with `usage` for a source without one, such as a live
 * tree.
 */
export async function snapshotsToSend(
  engine: EngineName,
  sources: readonly CopySource[],
): Promise<SnapshotToSend[]> {
  const mounts = await readMounts();
  const found = new Map<string, SnapshotToSend>();
  for (const { path: live, readFrom, snapshot: ref } of sources) {
    const exposed = mountOfPath(mounts, readFrom);
    if (ref === undefined || exposed === undefined) {
      throw new FsbackupError('usage', `${engine} sends snapshots, and ${live} has none`, {
        hint: 'Choose another engine for it: rsync, tar.',
      });
    }
    const known = found.get(ref.name) ?? { ref, trees: [], majorMinor: exposed.majorMinor };
    const inside = path.relative(exposed.mountpoint, readFrom);
    known.trees.push({ path: live, inside, insideFilesystem: path.join(exposed.root, inside), readFrom });
    found.set(ref.name, known);
  }
  return [...found.values()];
}
