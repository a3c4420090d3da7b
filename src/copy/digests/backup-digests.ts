import { rename, rm } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../../errors.js';
import { exists } from '../../system/exists.js';
import { dataDirectory, digestFile } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import { isDigestList } from './digest-check.js';
import { sha256Of } from '../stored/stored-file.js';
import type { CopyEngine, DigestList } from '../engine.js';

const ANOTHER = { problem: 'digests.gz is not the one that the manifest was written with' };

/** What brings a list that only the repository has. */
export interface DigestFetching {
  engine: Pick<CopyEngine, 'fetchDigests'>;
  signal: AbortSignal;
}

/** Brings the list of a backup that was found in its repository; undefined when it is here. */
async function fetchList(
  backup: CompleteBackup,
  sha256: string,
  { engine, signal }: DigestFetching,
): Promise<{ problem: string } | undefined> {
  const file = digestFile(backup);
  if (backup.manifest.found === undefined || engine.fetchDigests === undefined || (await exists(file)))
    return undefined;
  const part = file.replace(/\.gz$/, '.part.gz');
  try {
    const isThere = await engine.fetchDigests({ dataDirectory: dataDirectory(backup), file: part, signal });
    if (!isThere) return { problem: 'the list of its digests is not there any more' };
    if ((await sha256Of(part)) !== sha256) return ANOTHER;
    // Whoever could write it could also write what it is compared with: it is to name nothing outside of the backup.
    if (!(await isDigestList(part))) return { problem: 'digests.gz is no list of digests' };
    await rename(part, file);
    return undefined;
  } finally {
    await rm(part, { force: true });
  }
}

/**
 * The list of a backup's digests, once it is proven to be the one of its manifest, or what is wrong with it. One that
 * only the repository has is brought here first; rejects as the engine does when that cannot be done.
 */
export async function digestsOf(
  backup: CompleteBackup,
  fetching: DigestFetching,
): Promise<DigestList | { problem: string } | undefined> {
  const { digests } = backup.manifest;
  if (digests === undefined) return undefined;
  const file = digestFile(backup);
  const notHere = await fetchList(backup, digests.sha256, fetching);
  if (notHere !== undefined) return notHere;
  try {
    return (await sha256Of(file)) === digests.sha256 ? { file, algorithm: digests.algorithm } : ANOTHER;
  } catch (error) {
    if (error instanceof FsbackupError) return { problem: error.message };
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return { problem: `digests.gz cannot be read: ${errno}` };
  }
}
