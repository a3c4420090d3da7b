import { mkdir, writeFile } from 'node:fs/promises';
import { backupDirectory, dataDirectory, type BackupRef } from '../../src/copy/backup/backup-layout.js';
import { beginBackup, completeBackup } from '../../src/copy/backup/backup-store.js';
import type { Manifest } from '../../src/copy/backup/manifest.js';
import { successfulReport } from './run-reports.js';

/** A manifest that fits its place. */
export function manifestFor(ref: BackupRef, changes: Partial<Manifest> = {}): Manifest {
  return {
    version: 1,
    fsbackupVersion: '0.1.0',
    job: ref.job,
    backupId: ref.backupId,
    engine: 'rsync',
    completedAt: '2026-01-02T03:04:08.000Z',
    sources: ['/srv'],
    files: 1,
    bytes: 7,
    unreadable: [],
    tools: { rsync: '3.2.7' },
    report: successfulReport({ job: ref.job, runId: ref.backupId }),
    ...changes,
  };
}

/** Writes a complete backup with one file, `/srv/file`. */
export async function makeBackup(ref: BackupRef, changes: Partial<Manifest> = {}): Promise<void> {
  await beginBackup(ref);
  await mkdir(`${dataDirectory(ref)}/srv`);
  await writeFile(`${dataDirectory(ref)}/srv/file`, 'content');
  await completeBackup(ref, manifestFor(ref, changes));
}

/** Begins a backup and leaves it incomplete, or gives it a manifest that is none. */
export async function makeUnfinished(ref: BackupRef, manifest?: string): Promise<void> {
  await beginBackup(ref);
  await writeFile(`${dataDirectory(ref)}/half`, 'half');
  if (manifest !== undefined) await writeFile(`${backupDirectory(ref)}/manifest.json`, manifest);
}
