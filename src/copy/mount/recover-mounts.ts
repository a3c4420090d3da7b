import { messageOf } from '../../errors.js';
import { undoMount } from './mount-backup.js';
import { readMountRecords } from './mount-records.js';
import { lockServing } from './serving-lock.js';

/** What became of a mount whose server had died. */
export interface RecoveredMount {
  job: string;
  directory: string;
  /** Undefined: it is undone. */
  problem: string | undefined;
}

/**
 * Undoes the mounts that a process served which is dead: nobody can read there any more, or a program shows it that
 * nobody ends. Those of living ones, and those of the kernel, stay. Goes on past failures.
 */
export async function recoverMounts(): Promise<RecoveredMount[]> {
  const recovered: RecoveredMount[] = [];
  for (const record of (await readMountRecords()).filter(({ kind }) => kind === 'process')) {
    const lock = await lockServing(record.directory);
    if (lock === undefined) continue;
    const { job, directory } = record;
    try {
      await undoMount(record);
      recovered.push({ job, directory, problem: undefined });
    } catch (error) {
      recovered.push({ job, directory, problem: messageOf(error) });
    } finally {
      await lock.release();
    }
  }
  return recovered;
}
