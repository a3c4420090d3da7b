import { mkdir } from 'node:fs/promises';
import path from 'node:path';

/**
 * What does not outlive a reboot: locks, freeze records, journalled mounts, control sockets.
 * `FSBACKUP_RUN_DIR` overrides it.
 */
export function runDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return path.resolve(env['FSBACKUP_RUN_DIR'] ?? '/run/fsbackup');
}

/** What outlives a reboot: the journal of snapshots, the history. `FSBACKUP_STATE_DIR` overrides it. */
export function stateDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return path.resolve(env['FSBACKUP_STATE_DIR'] ?? '/var/lib/fsbackup');
}

/** Makes a directory for root alone, with its parents. Idempotent. */
export async function ensurePrivateDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
}
