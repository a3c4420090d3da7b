import { realpath } from 'node:fs/promises';
import {
  acquireLock,
  jobLockName,
  targetLockName,
  type LockDependencies,
  type LockWait,
} from '../journal/lock.js';
import { targetName, type BackupTarget } from '../backup-target.js';
import type { ReleaseStack } from './release-stack.js';

/** One spelling for one directory, where it exists. */
async function canonical(directory: string): Promise<string> {
  return await realpath(directory).catch(() => directory);
}

/** Takes the lock of a job, then those of its targets; `stack` releases them. Rejects with `locked`. */
export async function takeLocks(
  { job, targets }: { job: string; targets: readonly BackupTarget[] },
  locks: LockDependencies,
  stack: ReleaseStack,
  wait: LockWait,
): Promise<void> {
  const take = async (name: string, what: string): Promise<void> => {
    const lock = await acquireLock(name, what, locks, wait);
    stack.push(what, () => lock.release());
  };
  await take(jobLockName(job), `the job ${job}`);
  // Sorted, so that two jobs with the same targets cannot wait for each other.
  const names = new Map<string, string>();
  for (const target of targets) {
    const directory = await canonical(target.path);
    names.set(directory, target.repository === undefined ? directory : targetName(target));
  }
  for (const [directory, name] of [...names].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    await take(targetLockName(directory), `the target ${name}`);
}
