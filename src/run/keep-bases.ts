import type { BaseRecord, BaseStore } from '../copy/filesystem/base-store.js';
import type { CopyBase, KeptSnapshot } from '../copy/engine.js';
import { targetName } from '../backup-target.js';
import type { PlannedTarget } from '../plan/plan.js';
import type { SnapshotRef } from '../snapshots/provider.js';
import type { RunContext } from './context.js';
import type { ExecuteDependencies } from './dependencies.js';
import { describeDoubt } from './doubtful-parent.js';
import { releaseSnapshot } from './release-snapshot.js';
import { faultPoint } from '../system/fault-point.js';

/** The recorded base of a target, with the backup that it belongs to. What keeps it from being used is a warning. */
export async function findBase(
  target: PlannedTarget,
  { plan, dependencies, warn }: RunContext,
): Promise<CopyBase | undefined> {
  const record = await dependencies.bases.read(plan.job, target.path);
  if (record === undefined || record.engine !== target.engine) return undefined;
  const { backupId, snapshots } = record;
  const dataDirectory = await dependencies.backups.completeData({ target, job: plan.job, backupId });
  if (dataDirectory === undefined) {
    warn(
      `${targetName(target)} has no backup ${backupId} any more to make an increment of: this one is full`,
    );
    return undefined;
  }
  const doubt = await dependencies.backups.doubt({ target, job: plan.job, backupId });
  if (doubt === undefined) return { backupId, dataDirectory, snapshots };
  // It stays recorded until a backup takes its place: a verify that finds it good makes it a base again.
  warn(describeDoubt(target, { job: plan.job, backupId, doubt }));
  return undefined;
}

/** The snapshots of a record that no other one keeps. */
async function onlyIn(record: BaseRecord, bases: BaseStore): Promise<SnapshotRef[]> {
  const others = (await bases.list(record.job)).filter(({ target }) => target !== record.target);
  const names = new Set(others.flatMap(({ snapshots }) => snapshots.map(({ snapshot }) => snapshot.name)));
  return record.snapshots.map(({ snapshot }) => snapshot).filter(({ name }) => !names.has(name));
}

/** A snapshot that a record is about to let go of. */
export interface Retired {
  ref: SnapshotRef;
  /** Once the record is changed. Idempotent. */
  release: () => Promise<void>;
}

/**
 * Journals the snapshots of a record as something to release, before it changes: who dies in between leaves the record
 * as it was, and `recover` then finds that they are still kept, or without them, and removes them.
 */
export async function retireBase(
  record: BaseRecord,
  { bases, journal, provider }: Pick<ExecuteDependencies, 'bases' | 'journal' | 'provider'>,
): Promise<Retired[]> {
  const retired: Retired[] = [];
  for (const ref of await onlyIn(record, bases)) {
    const entry = await journal.record('snapshot', { ...ref, data: { ...ref.data } });
    const release = async (): Promise<void> => {
      await releaseSnapshot(record.job, ref, provider(ref.provider, undefined), bases);
      await entry.remove();
    };
    retired.push({ ref, release });
  }
  return retired;
}

/**
 * Makes the snapshots that a complete backup was made from the target's base, and lets go of those of before. The order
 * is what makes a kill at any moment harmless: first the old ones are journalled as something to release, then the
 * record changes in one step, then they are released (with the run, or by `recover`). Whoever releases a snapshot asks
 * the record first.
 */
export async function keepBases(
  target: PlannedTarget,
  keep: readonly KeptSnapshot[] | undefined,
  { plan, runId, dependencies, stack }: RunContext,
): Promise<void> {
  const { bases } = dependencies;
  const before = await bases.read(plan.job, target.path);
  if (before === undefined && keep === undefined) return;
  const retired = before === undefined ? [] : await retireBase(before, dependencies);
  for (const { ref, release } of retired) stack.push(`the snapshot ${ref.name}`, release);
  faultPoint('base.retired');
  if (keep === undefined) await bases.remove(plan.job, target.path);
  else {
    const snapshots = keep.map(({ snapshot, identity }) => ({
      snapshot: { ...snapshot, data: { ...snapshot.data } },
      identity,
    }));
    const { engine } = target;
    await bases.write({ job: plan.job, target: target.path, engine, backupId: runId, snapshots });
  }
  faultPoint('base.recorded');
}
