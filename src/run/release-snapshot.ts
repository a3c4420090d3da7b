import type { BaseStore } from '../copy/base-store.js';
import type { SnapshotProvider, SnapshotRef } from '../snapshots/provider.js';

/**
 * Ends a run's, or a dead run's, hold of a snapshot: it is removed, unless it is recorded as the base of the next
 * increment. Idempotent. Rejects with `cleanupIncomplete`, also where it cannot be told which it is.
 */
export async function releaseSnapshot(
  ref: SnapshotRef,
  provider: SnapshotProvider,
  bases: Pick<BaseStore, 'keeps'>,
): Promise<void> {
  if (await bases.keeps(ref.name)) await provider.keep?.(ref);
  else await provider.remove(ref);
}
