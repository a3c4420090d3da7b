import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { RunReport } from '../../../src/report/run-report.js';
import type { FsbackupCli } from '../fsbackup-cli.js';
import { checkLedger, countCommits, type Commit, type CommitCount, type SnapshotSpan } from './commit-log.js';
import { commitsBeyond, type Database, type Load, type Restored } from './database.js';

const JOB = 'database';

/** Where a database that is backed up lies, and its backups. */
export interface BackedUp {
  /** Of the filesystem that it is on. */
  mountpoint: string;
  /** Its directory, below the mountpoint. */
  directory: string;
  target: string;
  /** A directory on one filesystem with `restored`: to restore to, removed again. */
  scratch: string;
  /** What a restore of the database's directory becomes, removed again. */
  restored: string;
}

/** One backup under load, restored and checked. */
export interface Proof {
  report: RunReport;
  span: SnapshotSpan;
  commits: readonly Commit[];
  count: CommitCount;
  restored: Restored;
  /** What is wrong: nothing, when the backup keeps its promise. */
  complaints: string[];
}

function spanOf({ sources }: RunReport): SnapshotSpan {
  const [source] = sources;
  if (source?.snapshotStartedAt == null || source.snapshotFinishedAt === null)
    throw new Error('the report does not tell when the snapshot was taken');
  return { startMs: Date.parse(source.snapshotStartedAt), endMs: Date.parse(source.snapshotFinishedAt) };
}

/**
 * Backs a database up while its load runs, with no quiesce; restores that backup, lets the database recover, and holds it
 * against what the load noted. Rejects when the run or the restore does not exit 0.
 */
export async function proveBackup(
  cli: FsbackupCli,
  place: BackedUp,
  database: Database,
  load: Load,
): Promise<Proof> {
  await commitsBeyond(load, Date.now());
  const run = await cli.runJob('--job', JOB, '--source', place.mountpoint, '--to', place.target);
  const report = run.value;
  if (run.exitCode !== 0) throw new Error(`the run ended with ${run.exitCode}: ${JSON.stringify(report)}`);
  const span = spanOf(report);
  const commits = await commitsBeyond(load, span.endMs);

  const restore = await cli.run('restore', JOB, '--from', place.target, '--to', place.scratch);
  if (restore.exitCode !== 0)
    throw new Error(`the restore ended with ${restore.exitCode}: ${restore.stderr}`);
  await rename(path.join(place.scratch, place.directory), place.restored);
  const restored = await database.readRestored(place.restored);
  await rm(place.restored, { recursive: true });
  await rm(place.scratch, { recursive: true });
  return {
    report,
    span,
    commits,
    count: countCommits(commits, span),
    restored,
    complaints: [...restored.complaints, ...checkLedger(restored.rows, commits, span)],
  };
}
