import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import type { BackupRef } from './backup-layout.js';
import { targetAt } from './catalogue.js';
import type { EngineName } from '../engine-names.js';
import type { EngineFor } from './engines.js';

/** What is going, and who made it. */
export interface StoredBackup {
  /** Where the backup's directory is now. */
  directory: string;
  engine: EngineName;
  engines: EngineFor;
}

/**
 * Takes away what an engine keeps of a backup elsewhere than in its directory: to be called before that goes, since it
 * tells where. Idempotent. Rejects as the engine does; the backup's directory is then to stay.
 */
export async function removeStored(
  ref: BackupRef,
  { directory, engine, engines }: StoredBackup,
): Promise<void> {
  const data = path.join(directory, 'data');
  try {
    await lstat(data);
  } catch (error) {
    // Gone with an earlier removal that did not come to its end, after the engine's part.
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  const { job, backupId } = ref;
  await engines({ ...(await targetAt(ref.target)), engine }).remove?.({
    dataDirectory: data,
    backup: { job, backupId },
  });
}
