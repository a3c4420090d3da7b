import { lstat } from 'node:fs/promises';
import { localRepository, targetOf } from '../../backup-target.js';
import { errnoOf } from '../../errors.js';
import { withScratch } from '../../system/scratch.js';
import { digestsOf } from '../digests/backup-digests.js';
import { dataDirectory } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import { noDifferences } from '../digests/digest-compare.js';
import type { CopyEngine, CopyProgress, VerifyFindings } from '../engine.js';
import { forgetStored } from '../stored/forget-stored.js';
import { sizeOf, totalsOf } from '../backup/manifest.js';

/** What a verification is asked for with. */
export interface VerifyOptions {
  backup: CompleteBackup;
  mode: 'quick' | 'full';
  /** The engine that wrote the backup. */
  engine: CopyEngine;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

/** What is wrong with one backup by itself: of what it needs, no more than its engine sees of it. */
export async function lookAtBackup({
  backup,
  mode,
  engine,
  signal,
  onProgress,
}: VerifyOptions): Promise<VerifyFindings> {
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
  if (mode === 'full') {
    await forgetStored(directory);
    const repository = localRepository(targetOf(backup));
    if (repository !== undefined) await forgetStored(repository);
  }
  const digests = await digestsOf(backup, { engine, signal });
  const list = digests !== undefined && 'file' in digests ? digests : undefined;
  const totals = totalsOf(backup.manifest);
  return await withScratch('verify', async (scratch) => {
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
  });
}
