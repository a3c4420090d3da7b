import { createHash } from 'node:crypto';
import path from 'node:path';
import { tryAcquireLock, type Lock } from '../../journal/lock.js';
import { ownCommandLine } from '../../system/command-line.js';
import { runDirectory } from '../../system/directories.js';
import { tryLock } from '../../system/native.js';
import { readProcessIdentity } from '../../system/process-identity.js';

/** Held by whoever serves a mount at a directory: to hold it is to be alive. Undefined: somebody else does. */
export async function lockServing(directory: string): Promise<Lock | undefined> {
  const { pid, startTime } = await readProcessIdentity();
  const name = `mount-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`;
  return await tryAcquireLock(name, {
    tryLock,
    directories: [path.join(runDirectory(), 'locks')],
    holder: { pid, startTime, runId: '', command: `fsbackup ${ownCommandLine()}` },
  });
}
