import { lstat } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../errors.js';
import { makeScratch } from '../system/scratch.js';
import { exitCode } from '../exit-codes.js';
import { digestsOf } from './backup-digests.js';
import { dataDirectory } from './backup-layout.js';
import type { CompleteBackup } from './backup-list.js';
import { noDifferences, type PathSample } from './digest-compare.js';
import type { CopyEngine, CopyProgress, EngineName, VerifyFindings } from './engine.js';
import { readManifest, sizeOf, totalsOf } from './manifest.js';
import { removeTree } from './remove-tree.js';
import { targetName, targetOf } from '../backup-target.js';
import type { VerifyRecord } from './verify-history.js';

/** What a verification is asked for with. */
export interface VerifyOptions {
  backup: CompleteBackup;
  mode: 'quick' | 'full';
  /** The engine that wrote the backup. */
  engine: CopyEngine;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** One verification in `backups verify --json`: stable. Times RFC 3339. */
export interface VerifyReport {
  target: string;
  job: string;
  backupId: string;
  engine: EngineName;
  mode: VerifyRecord['mode'];
  /** `unproven`: nothing wrong was found, and not all could be compared. */
  outcome: VerifyRecord['outcome'];
  exitCode: number;
  startedAt: string;
  finishedAt: string;
  /** Entries that are not directories; null where the check does not count. */
  files: number | null;
  /** Size of the files that were looked at. */
  bytes: number;
  /** Files that there is no digest of to compare with. */
  withoutDigest: number;
  changed: PathSample;
  missing: PathSample;
  extra: PathSample;
  /** What is wrong as a whole. */
  problems: string[];
  /** Only with the mode `drill`. */
  drill?: DrillFacts;
}

/** What a drill did beside looking. */
export interface DrillFacts {
  /** Where it restored to; removed again. */
  directory: string;
  restoredFiles: number;
  restoredBytes: number;
  /** What was run on it; null for none, or when it did not come to that. */
  command: string[] | null;
  /** Why the directory is still there; null when it is not (exit 60 otherwise). */
  leftBehind: string | null;
}

async function look({ backup, mode, engine, signal, onProgress }: VerifyOptions): Promise<VerifyFindings> {
  const directory = dataDirectory(backup);
  const nothing = { ...noDifferences(), files: undefined, bytes: 0 };
  try {
    if (!(await lstat(directory)).isDirectory())
      return { ...nothing, problems: [`${directory} is not a directory`] };
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return { ...nothing, problems: [`${directory} cannot be read: ${errno}`] };
  }
  const digests = await digestsOf(backup);
  const list = digests !== undefined && 'file' in digests ? digests : undefined;
  const totals = totalsOf(backup.manifest);
  const scratch = await makeScratch('fsbackup-verify-');
  try {
    const findings = await engine.verify({
      dataDirectory: directory,
      mode,
      digests: list,
      notInBackup: backup.manifest.unreadable,
      scratch,
      signal,
      onProgress: (progress) => onProgress({ ...totals, ...progress }),
    });
    const problems = [...findings.problems];
    if (digests !== undefined && 'problem' in digests) problems.push(digests.problem);
    const { files, unreadable } = backup.manifest;
    // With a list, each of them was looked for by its name; what could not be read is in the count of rsync.
    if (
      list === undefined &&
      sizeOf(backup.manifest) !== undefined &&
      unreadable.length === 0 &&
      findings.files !== undefined &&
      findings.files !== files
    ) {
      problems.push(`it holds ${findings.files} files, and its manifest says ${files}`);
    }
    return { ...findings, problems };
  } finally {
    await removeTree(scratch);
  }
}

function outcomeOf(findings: VerifyFindings, mode: VerifyReport['mode']): VerifyReport['outcome'] {
  const { changed, missing, extra, problems } = findings;
  if (changed.count + missing.count + extra.count + problems.length > 0) return 'failed';
  return mode !== 'quick' && findings.withoutDigest > 0 ? 'unproven' : 'ok';
}

const EXITS = { ok: 'ok', unproven: 'warnings', failed: 'verifyFailed' } as const;

/** The report of what was found. */
export function reportOf(
  backup: CompleteBackup,
  mode: VerifyReport['mode'],
  startedAt: string,
  findings: VerifyFindings,
): VerifyReport {
  const { files, bytes, withoutDigest, changed, missing, extra, problems } = findings;
  const { job, backupId, manifest } = backup;
  const outcome = outcomeOf(findings, mode);
  return {
    target: targetName(targetOf(backup)),
    job,
    backupId,
    engine: manifest.engine,
    mode,
    outcome,
    exitCode: exitCode(EXITS[outcome]),
    startedAt,
    finishedAt: new Date().toISOString(),
    files: files ?? null,
    bytes,
    withoutDigest,
    changed,
    missing,
    extra,
    problems,
  };
}

/** A backup that was removed while it was looked at is not a bad one. Rejects with `failed`, saying what it was for. */
export async function requireNotRemoved(backup: CompleteBackup, what = 'verified'): Promise<void> {
  if ((await readManifest(backup)).state !== 'incomplete') return;
  throw new FsbackupError('failed', `${backup.job}@${backup.backupId} was removed while it was ${what}`, {
    hint: '`fsbackup backups list` shows what there is.',
  });
}

/**
 * Verifies one backup. What is wrong with it is in the report (exit 50); rejects when it could not be looked at, with
 * `failed` when it was removed meanwhile, with the signal's reason when aborted.
 */
export async function verifyBackup(options: VerifyOptions): Promise<VerifyReport> {
  const { backup, mode, engine, signal } = options;
  await engine.preflight();
  const startedAt = new Date().toISOString();
  let findings: VerifyFindings;
  try {
    findings = await look(options);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  const report = reportOf(backup, mode, startedAt, findings);
  if (report.outcome === 'failed') await requireNotRemoved(backup);
  return report;
}

/** What the history keeps of it. */
export function verifyRecord(report: VerifyReport): VerifyRecord {
  const { target, job, backupId, mode, outcome, finishedAt } = report;
  return { version: 1, target, job, backupId, mode, outcome, finishedAt };
}
