import { mkdir } from 'node:fs/promises';
import path from 'node:path';

/** What a variable names; an empty one is an unset one, and not the working directory. */
function directoryFrom(variable: string | undefined, fallback: string): string {
  return path.resolve(variable === undefined || variable === '' ? fallback : variable);
}

/**
 * What does not outlive a reboot: locks, freeze records, journalled mounts, control sockets.
 * `FSBACKUP_RUN_DIR` overrides it.
 */
export function runDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return directoryFrom(env['FSBACKUP_RUN_DIR'], '/run/fsbackup');
}

/** What outlives a reboot: the journal of snapshots, the history. `FSBACKUP_STATE_DIR` overrides it. */
export function stateDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return directoryFrom(env['FSBACKUP_STATE_DIR'], '/var/lib/fsbackup');
}

/** Makes a directory for root alone, with its parents. Idempotent. */
export async function ensurePrivateDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
}
