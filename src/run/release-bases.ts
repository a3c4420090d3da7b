import type { BaseRecord } from '../copy/filesystem/base-store.js';
import { targetAt } from '../copy/repository/catalogue.js';
import { isMeantBy } from '../copy/target/same-target.js';
import { targetName } from '../backup-target.js';
import { FsbackupError } from '../errors.js';
import { locksForRecovery } from '../journal/lock.js';
import { retireBase } from './keep-bases.js';
import type { PruneOptions } from './prune.js';
import { ReleaseStack } from './release-stack.js';
import { recoveryWarnings, type RunHost } from './run-job.js';
import { takeLocks } from './take-locks.js';

/** One kept base, as `status` tells of it. Stable. */
export interface BaseStatus {
  job: string;
  /** As people know it. */
  target: string;
  engine: string;
  /** The backup that the next one will be an increment of. */
  backupId: string;
  recordedAt: string;
  snapshots: { mountpoint: string; provider: string; name: string }[];
}

/** What `status` shows of a record. */
export async function baseStatus(record: BaseRecord): Promise<BaseStatus> {
  const { job, target, engine, backupId, recordedAt, snapshots } = record;
  const name = await targetAt(target).then(targetName, () => target);
  return {
    job,
    target: name,
    engine,
    backupId,
    recordedAt,
    snapshots: snapshots.map(({ snapshot }) => ({
      mountpoint: snapshot.mountpoint,
      provider: snapshot.provider,
      name: snapshot.name,
    })),
  };
}

/** Which bases are to go: those of a job, or of a job in one target. */
export interface BaseSelection {
  job: string;
  /** The target, as somebody wrote it. */
  target: string | undefined;
}

/** Those of the selection. Rejects with `usage` where nothing is kept for the target that is named. */
async function select(records: readonly BaseRecord[], { job, target }: BaseSelection): Promise<BaseRecord[]> {
  if (target === undefined) return [...records];
  const selected: BaseRecord[] = [];
  for (const record of records) {
    const { repository } = await targetAt(record.target);
    const { engine } = record;
    const known = { path: record.target, engine, ...(repository === undefined ? {} : { repository }) };
    if (await isMeantBy(target, known)) selected.push(record);
  }
  if (selected.length > 0) return selected;
  const others = await Promise.all(records.map(async (record) => (await baseStatus(record)).target));
  throw new FsbackupError('usage', `nothing is kept for ${job} in ${target}`, {
    hint:
      others.length === 0
        ? `Nothing is kept for ${job} at all: \`fsbackup status\` shows what is.`
        : `Something is kept for it in: ${others.join(', ')}.`,
  });
}

export type ReleaseHost = Pick<RunHost, 'locks' | 'recover' | 'openJournal' | 'makeRunId' | 'execution'>;

/**
 * Removes the snapshots that are kept for increments, so that the next backups are full ones; the backups stay.
 * Resolves to those that were let go of. Rejects with `usage` for a target in which nothing is kept, with `locked`, and with `cleanupIncomplete` where one could not be
 * removed: `recover` then ends it.
 */
export async function releaseBases(
  selection: BaseSelection,
  host: ReleaseHost,
  { lockWaitMs, signal, warn, onWait }: PruneOptions,
): Promise<BaseStatus[]> {
  const { job } = selection;
  const runId = host.makeRunId();
  const locks = host.locks(runId);
  const stack = new ReleaseStack();
  const { bases } = host.execution;
  const released: BaseStatus[] = [];
  try {
    await takeLocks({ job, targets: [] }, locks, stack, { waitMs: lockWaitMs, signal, onWait });
    for (const message of recoveryWarnings(await host.recover(locksForRecovery(locks, job), signal)))
      warn(message);
    const dependencies = { ...host.execution, journal: host.openJournal(job, runId) };
    for (const record of await select(await bases.list(job), selection)) {
      const status = await baseStatus(record);
      const retired = await retireBase(record, dependencies);
      await bases.remove(record.job, record.target);
      for (const { release } of retired) await release();
      released.push(status);
    }
  } finally {
    for (const { what } of await stack.releaseAll()) warn(`${what} could not be released`);
  }
  return released;
}
