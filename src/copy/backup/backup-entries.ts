import { FsbackupError } from '../../errors.js';
import { digestsOf } from '../digests/backup-digests.js';
import { dataDirectory } from './backup-layout.js';
import type { CompleteBackup } from './backup-list.js';
import { pathFromBytes } from '../byte-path.js';
import { readRecords } from '../digests/digest-lines.js';
import { unescapePath } from '../digests/digest-record.js';
import type { BackupEntry, CopyEngine } from '../engine.js';

/** What a list of digests has, which was proven to be the backup's. */
export async function* entriesInList(file: string): AsyncGenerator<BackupEntry> {
  for await (const { path, type } of readRecords(file)) {
    yield { path: `/${pathFromBytes(unescapePath(path))}`, isDirectory: type === 'd' };
  }
}

/**
 * All that a backup holds, from its engine or from its list of digests, as a stream: memory does not grow with it. May
 * be asked for again. Rejects with `failed` when nothing tells, or the list is not the one of the manifest.
 */
export async function entriesOf(
  backup: CompleteBackup,
  engine: Pick<CopyEngine, 'list' | 'fetchDigests'>,
  signal: AbortSignal,
): Promise<() => AsyncIterable<BackupEntry>> {
  if (engine.list !== undefined) {
    const list = engine.list.bind(engine);
    return () => list({ dataDirectory: dataDirectory(backup), signal });
  }
  const digests = await digestsOf(backup, { engine, signal });
  if (digests !== undefined && 'file' in digests) return () => entriesInList(digests.file);
  const why = digests === undefined ? 'it has no digests.gz' : digests.problem;
  throw new FsbackupError('failed', `what is in ${backup.job}@${backup.backupId} cannot be listed: ${why}`, {
    hint: 'Name whole paths instead of patterns, or restore all of it with --to DIR.',
  });
}
