import { FsbackupError } from '../../errors.js';
import { exitCode } from '../../exit-codes.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import type { PathSample } from '../digests/digest-compare.js';
import type { EngineName, VerifyFindings } from '../engine.js';
import type { VerifyOptions } from './look-at-backup.js';
import { lookAtChain, Looks } from './look-at-chain.js';
import { readManifest } from '../backup/manifest.js';
import { targetName, targetOf } from '../../backup-target.js';
import type { VerifyRecord } from './verify-history.js';
import { outcomeOf, type NeededReport } from './verify-outcome.js';
import { suggested } from '../../system/command-line.js';

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
  /** Size of the files that were looked at, with those of the backups that it needs. */
  bytes: number;
  /** Files that there is no digest of to compare with. */
  withoutDigest: number;
  changed: PathSample;
  missing: PathSample;
  extra: PathSample;
  /** What is wrong as a whole. */
  problems: string[];
  /** Only of a full verify of an increment: the backups that it needs, which were read with it, the full one first. */
  needs?: NeededReport[];
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
    hint: `\`${suggested('backups list')}\` shows what there is.`,
  });
}

/**
 * Verifies one backup, with all that it needs. What is wrong with it is in the report (exit 50); rejects when it could not
 * be looked at, with `failed` when it was removed meanwhile, with the signal's reason when aborted.
 *
 * `quick`: what it needs is there. `full`: that is read too, as a restore would, and `needed` has a report of each, to be
 * kept as if it had been asked for. `looks` remembers what was read: nothing is read twice for several backups.
 */
export async function verifyBackup(
  options: VerifyOptions,
  looks: Looks = new Looks(),
): Promise<{ report: VerifyReport; needed: VerifyReport[] }> {
  const { backup, mode, engine, signal } = options;
  await engine.preflight();
  const startedAt = new Date().toISOString();
  try {
    const chain = await lookAtChain(options, looks);
    const report = { ...reportOf(backup, mode, startedAt, chain.findings), ...chain.facts };
    if (report.outcome === 'failed') await requireNotRemoved(backup);
    const needed: VerifyReport[] = [];
    for (const one of chain.needed) {
      const of = { ...reportOf(one.backup, mode, startedAt, one.findings), ...one.facts };
      // One that was removed meanwhile has no history to keep.
      if ((await readManifest(one.backup)).state !== 'incomplete') needed.push(of);
    }
    return { report, needed };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** What the history keeps of it. */
export function verifyRecord(report: VerifyReport): VerifyRecord {
  const { target, job, backupId, mode, outcome, finishedAt } = report;
  return { version: 1, target, job, backupId, mode, outcome, finishedAt };
}
