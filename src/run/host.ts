import { open } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import path from 'node:path';
import type { SnapshotCommands } from '../config/types.js';
import { createBaseStore } from '../copy/filesystem/base-store.js';
import { isJobName } from '../copy/backup/backup-layout.js';
import { createBackupWriter } from '../copy/backup/backup-writer.js';
import { removeDrill } from '../copy/verify/drill-directory.js';
import { engineFor } from '../copy/engines.js';
import { examineTarget } from '../copy/target/examine-target.js';
import { recoverMounts } from '../copy/mount/recover-mounts.js';
import { removeRestoreLinks } from '../copy/restore/restore-links.js';
import { removeStaging } from '../copy/restore/restore-staging.js';
import { removeScratchPool } from '../copy/zfs/scratch-pool.js';
import { FsbackupError } from '../errors.js';
import { armFreezer } from '../freeze/arm-freezer.js';
import { findGuardedDevices } from '../freeze/guarded-devices.js';
import { recoverFreezes } from '../freeze/recover-freezes.js';
import { refuseHeld } from '../freeze/refuse-held.js';
import { journalDirectories, openJournal, readJournal } from '../journal/journal.js';
import { locksForRecovery, type Lock, type LockDependencies } from '../journal/lock.js';
import { recover, recoverOwners, type DeadRun, type RecoverDependencies } from '../journal/recover.js';
import type { RecoverReport } from '../journal/recover-report.js';
import type { Releasers } from '../journal/release-entries.js';
import { releaseApplication } from '../quiesce/hooks.js';
import { finishRemoval } from '../retention/remove-backup.js';
import { automaticProviders, providerByName } from '../snapshots/registry.js';
import { ownCommandLine } from '../system/command-line.js';
import { runDirectory, stateDirectory } from '../system/directories.js';
import { readMounts } from '../system/mountinfo.js';
import { unlessAborted } from '../system/unless-aborted.js';
import { syncfs, tryLock } from '../system/native.js';
import { endOrphans } from '../system/orphans.js';
import { snapshotMounts } from '../system/own-mounts.js';
import { readProcessIdentity, type ProcessIdentity } from '../system/process-identity.js';
import { shownMount } from '../system/shown-mount.js';
import { treeOrigin } from '../system/tree-origin.js';
import { sweepScratch } from '../system/scratch.js';
import { releaseMetadata } from '../system/thin-pool.js';
import { requireAnswer } from '../system/probe-writable.js';
import { runAtMost } from '../system/run-at-most.js';
import { runCommand } from '../system/run-command.js';
import { readUnitPrograms } from '../system/unit-programs.js';
import { looksFrozen } from '../system/looks-frozen.js';
import { endHook } from './end-hook.js';
import { endMakers } from './end-makers.js';
import type { Plan } from '../plan/plan.js';
import type { Examine } from './examine-plan.js';
import { removeEmptyDirectory } from './expose-snapshots.js';
import { findNested } from './find-nested.js';
import { gatherFacts } from './gather-facts.js';
import { recordKilled, recordRun } from './history.js';
import { refuseFrozenSources, refuseUnwritableTarget } from './refuse-unwritable.js';
import { releaseSnapshot } from './release-snapshot.js';
import { retainBackups } from './retain.js';
import type { PlanHost } from './plan-jobs.js';
import type { RunHost } from './run-job.js';
import type { RestoreHost } from './restore-journal.js';
import { makeRunId } from './run-id.js';
import { rememberMounts } from './source-mounts.js';

/** Before the second try of a window or a copy. */
const RETRY_DELAY_MS = 1000;
/** A look at an LVM snapshot starts a program that takes some 20 ms. */
const WATCH_INTERVAL_MS = 2000;

async function syncFilesystem(mountpoint: string, signal: AbortSignal): Promise<void> {
  const handle = await open(mountpoint, 'r');
  const work = (async () => {
    try {
      await syncfs(handle.fd);
    } finally {
      await handle.close();
    }
  })();
  await unlessAborted(work, signal);
}

function locksOf(identity: ProcessIdentity, runId: string): LockDependencies {
  const { pid, startTime } = identity;
  return {
    tryLock,
    directories: [path.join(runDirectory(), 'locks'), path.join(stateDirectory(), 'locks')],
    holder: { pid, startTime, runId, command: `fsbackup ${ownCommandLine()}` },
  };
}

/** How each kind of held thing is released by a process that did not acquire it. */
function releasers(): Releasers {
  const backups = createBackupWriter();
  return {
    quiesce: ({ payload }) => releaseApplication(payload, runAtMost),
    exposure: async ({ payload }) => {
      await providerByName(payload.snapshot.provider).unexpose(payload);
      await removeEmptyDirectory(payload.path);
    },
    poolMetadata: ({ payload }) => releaseMetadata(payload.device),
    snapshot: ({ job, payload }) =>
      releaseSnapshot(job, payload, providerByName(payload.provider), createBaseStore()),
    isIntact: async ({ payload }) => {
      try {
        await providerByName(payload.provider).checkIntact(payload);
        return true;
      } catch {
        return false;
      }
    },
    backup: async ({ payload: { target, engine, job, backupId, storage } }, { mayKeep }) =>
      await backups.discardIncomplete(
        { target: { path: target, engine, mustBeMountpoint: false }, job, backupId },
        { mayKeep, storage },
      ),
    drill: ({ payload: { directory, storage } }) => removeDrill(directory, storage),
    staging: ({ payload }) => removeStaging(payload),
    restoreLinks: ({ payload }) => removeRestoreLinks(payload),
    scratchPool: ({ payload }) => removeScratchPool(payload, runCommand),
    removal: async ({ payload }) => {
      await finishRemoval(payload);
    },
  };
}

/** Restores and drills have no history of runs. */
async function noteDead(run: DeadRun): Promise<void> {
  if (!isJobName(run.job)) return;
  // What it left is to be released, whatever becomes of the history.
  await recordKilled(run).catch(() => undefined);
}

function recoverDependencies(
  identity: ProcessIdentity,
  lockJob: (job: string) => Promise<Lock | undefined>,
  signal?: AbortSignal,
): RecoverDependencies {
  const interruptible = signal === undefined ? {} : { signal };
  return {
    directories: journalDirectories(),
    bootId: identity.bootId,
    recoverFreezes,
    releasers: releasers(),
    endOrphans,
    endHook: (entry) => endHook(entry, interruptible),
    endMakers: (makers) => endMakers(makers, interruptible),
    lockJob,
    noteDead,
    ...interruptible,
  };
}

async function recoverWith(...from: Parameters<typeof recoverDependencies>): Promise<RecoverReport> {
  return await recover(recoverDependencies(...from));
}

/** Rejects with `usage` unless the journal names something of that run. */
async function requireJournalled(runId: string): Promise<void> {
  const { entries } = await readJournal(journalDirectories());
  if (entries.some(({ entry }) => entry.runId === runId)) return;
  throw new FsbackupError('usage', `nothing is held of a run ${runId}`, {
    hint: '`fsbackup recover` tells what is, and of what could not be released the run.',
  });
}

/**
 * Releases what dead runs on this host left; of the run `forget`, what lies on storage that is gone is forgotten, of the
 * run `goesOn` the applications that cannot be let go. Rejects with `usage` where nothing is held of that run.
 */
export async function recoverHost({
  forget,
  goesOn,
}: { forget?: string | undefined; goesOn?: string | undefined } = {}): Promise<RecoverReport> {
  for (const runId of [forget, goesOn]) if (runId !== undefined) await requireJournalled(runId);
  const identity = await readProcessIdentity();
  const locks = locksOf(identity, makeRunId(new Date()));
  const dependencies = recoverDependencies(identity, locksForRecovery(locks));
  const report = await recover({
    ...dependencies,
    ...(forget === undefined ? {} : { forget }),
    ...(goesOn === undefined ? {} : { goesOn }),
  });
  for (const { job, directory, problem } of await recoverMounts()) {
    const thing = { kind: 'served-mount', what: `mount ${directory}`, job, runId: null } as const;
    if (problem === undefined) report.released.push(thing);
    else report.failed.push({ ...thing, message: problem });
  }
  await sweepScratch();
  return report;
}

/** This host, as planning sees it. */
export function planHost(): PlanHost & {
  examine: Examine;
  refuseFrozenSources: (plan: Plan) => Promise<void>;
} {
  return {
    detectors: { auto: automaticProviders(), named: providerByName },
    gatherFacts,
    examine: async (target, { job, trees }) => {
      await refuseUnwritableTarget(target, requireAnswer);
      return await examineTarget({ target, job, sources: trees });
    },
    refuseFrozenSources: (plan) => refuseFrozenSources(plan, { looksFrozen, requireAnswer }),
  };
}

/** What a run and a restore need to be known by. */
function ownerships(identity: ProcessIdentity): Pick<RunHost, 'locks' | 'openJournal' | 'makeRunId'> {
  return {
    locks: (runId) => locksOf(identity, runId),
    openJournal: (job, runId) => openJournal(journalDirectories(), { job, runId, process: identity }),
    makeRunId: () => makeRunId(new Date()),
  };
}

/** This host, as a restore sees it. */
export async function createRestoreHost(): Promise<RestoreHost> {
  const identity = await readProcessIdentity();
  return {
    ...ownerships(identity),
    recoverOwners: (isMeant, lockJob) => recoverOwners(isMeant, recoverDependencies(identity, lockJob)),
  };
}

/** This host, as a run sees it. */
export async function createRunHost(): Promise<RunHost> {
  const identity = await readProcessIdentity();
  return {
    ...planHost(),
    ...ownerships(identity),
    recover: (lockJob, signal) => recoverWith(identity, lockJob, signal),
    mountDirectory: (job) => path.join(snapshotMounts(), job),
    recordRun,
    rememberMounts: (report) => rememberMounts(report),
    now: () => performance.now(),
    execution: {
      arm: armFreezer,
      guardedDevices: (filesystems) => findGuardedDevices(filesystems),
      provider: (name, commands: SnapshotCommands | undefined) => providerByName(name, commands),
      engine: engineFor,
      backups: createBackupWriter(),
      bases: createBaseStore(),
      retain: retainBackups,
      runProgram: runAtMost,
      readUnitPrograms,
      looksFrozen,
      refuseHeld,
      requireAnswer,
      shownMount,
      treeOrigin,
      lookBelow: async (directory, mount, exclude) =>
        await findNested({ exclude, recursive: false }, { path: directory, mount }, await readMounts()),
      syncFilesystem,
      retryDelayMs: RETRY_DELAY_MS,
      watchIntervalMs: WATCH_INTERVAL_MS,
    },
  };
}
