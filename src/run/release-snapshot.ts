import type { BaseStore } from '../copy/filesystem/base-store.js';
import type { SnapshotProvider, SnapshotRef } from '../snapshots/provider.js';

/**
 * Ends the hold that a run of `job`, or a dead one, has of a snapshot: it is removed, unless it is recorded as the base
 * of the job's next increment. Idempotent. Rejects with `cleanupIncomplete`, also where it cannot be told which it is.
 */
export async function releaseSnapshot(
  job: string,
  ref: SnapshotRef,
  provider: SnapshotProvider,
  bases: Pick<BaseStore, 'keeps'>,
): Promise<void> {
  if (await bases.keeps(job, ref.name)) await provider.keep?.(ref);
  else await provider.remove(ref);
}
