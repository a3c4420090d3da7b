import { chmod, lstat, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../errors.js';
import { makeDirectories } from './make-directories.js';
import { requireTrustedPath } from './trusted-path.js';

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
  await makeDirectories(directory, 0o700);
}

/** Where it is not there yet, or nobody may look, others tell. */
async function requireDirectory(name: string, directory: string, variable: string): Promise<void> {
  const facts = await stat(directory).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOTDIR') return null;
    return undefined;
  });
  if (facts === undefined || facts?.isDirectory() === true) return;
  throw new FsbackupError('usage', `the ${name} directory ${directory} is not a directory`, {
    hint: `See what is there, and move it away; or name another directory with ${variable}.`,
  });
}

async function closeToOthers(directory: string): Promise<void> {
  try {
    const { uid, mode } = await lstat(directory);
    if (uid === process.geteuid?.() && (mode & 0o077) !== 0) await chmod(directory, 0o700);
  } catch (error) {
    // A symlink to it, or it is on what cannot be written to: nobody else writes there, which is what counts.
    if (errnoOf(error) === undefined) throw error;
  }
}

/**
 * Rejects with `usage` when somebody else than root (or the user who runs this) could have written what stands in the run
 * or the state directory, which decides what is thawed, unmounted and removed, and where something else than a directory is
 * in its place. What others may only read is closed to them.
 */
export async function requireTrustedDirectories(env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const directories = [
    ['run', runDirectory(env), 'FSBACKUP_RUN_DIR'],
    ['state', stateDirectory(env), 'FSBACKUP_STATE_DIR'],
  ] as const;
  for (const [name, directory, variable] of directories) {
    await requireDirectory(name, directory, variable);
    await requireTrustedPath(directory, {
      what: `the ${name} directory`,
      why: 'What stands in it decides what root thaws, unmounts and removes.',
    });
    await closeToOthers(directory);
  }
}
