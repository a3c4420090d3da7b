import { realpath } from 'node:fs/promises';
import path from 'node:path';
import pRetry from 'p-retry';
import { errnoOf, FsbackupError } from '../errors.js';
import { readMounts, type Mount } from './mountinfo.js';
import { runAtMost } from './run-at-most.js';
import { describeFailure } from './run-command.js';
import { shellWord } from './command-line.js';

/** What is read from a snapshot is data: no program, device or set-uid file in it is to work. */
const SNAPSHOT_OPTIONS = ['ro', 'nosuid', 'nodev', 'noexec'];
const MOUNT_TIMEOUT_MS = 60_000;

/** The mount that shows at `directory` itself, the topmost of several; undefined when nothing is mounted there. */
export async function mountAt(directory: string): Promise<Mount | undefined> {
  let resolved: string;
  try {
    resolved = await realpath(directory);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT') return undefined;
    // A FUSE filesystem without its program: its directory can be named, and not be looked at.
    if (errno !== 'ENOTCONN') throw error;
    resolved = path.join(await realpath(path.dirname(directory)), path.basename(directory));
  }
  return (await readMounts()).findLast((mount) => mount.mountpoint === resolved);
}

/** Whether anything is mounted at `directory`. */
export async function isMountedAt(directory: string): Promise<boolean> {
  return (await mountAt(directory)) !== undefined;
}

/** The error for a directory that a snapshot was to be mounted at, and that shows something else. */
export function alreadyMounted(directory: string, shown: Mount): FsbackupError {
  return new FsbackupError('snapshotFailed', `${directory} is a mountpoint already, of ${shown.source}`, {
    hint: `If nothing needs it, unmount it: umount ${shellWord(directory)}`,
  });
}

async function runMount(args: readonly string[], directory: string): Promise<void> {
  const result = await runAtMost(['mount', ...args], { timeoutMs: MOUNT_TIMEOUT_MS });
  if (result.exitCode === 0) return;
  throw new FsbackupError(
    'snapshotFailed',
    `The snapshot cannot be mounted at ${directory}: ${describeFailure('mount', result)}`,
    { hint: 'See `dmesg` for why the kernel refused it.' },
  );
}

/** A filesystem to mount, read-only. */
export interface ReadOnlyMount {
  source: string;
  directory: string;
  fstype: string;
  /** Beside `ro,nosuid,nodev,noexec`. */
  options: readonly string[];
}

/** Mounts a filesystem read-only, by the kernel alone: no helper (`mount.TYPE`) but that of ZFS. Rejects with `snapshotFailed`. */
export async function mountReadOnly({ source, directory, fstype, options }: ReadOnlyMount): Promise<void> {
  const all = [...SNAPSHOT_OPTIONS, ...options].join(',');
  const only = fstype === 'zfs' ? [] : ['--internal-only'];
  await runMount([...only, '-t', fstype, '-o', all, '--', source, directory], directory);
}

/** Whether what a mount shows can neither be written to nor act. */
export function isSealed({ options }: Mount): boolean {
  return SNAPSHOT_OPTIONS.every((option) => options.includes(option));
}

/** Makes what is mounted at `directory` read-only there, whatever mounted it. Rejects with `snapshotFailed`. */
export async function remountReadOnly(directory: string): Promise<void> {
  await runMount(['-o', ['remount', 'bind', ...SNAPSHOT_OPTIONS].join(','), '--', directory], directory);
}

/**
 * Shows the directory `source` at `directory`, read-only. Rejects with `snapshotFailed`. The kernel makes a bind mount
 * with the options of the original and takes others only afterwards: in between it is as writable as `source`.
 * `source` may be the path of a `PinnedDirectory`: mount(8) would make a name of it, and mount what bears that by then.
 */
export async function bindReadOnly(source: string, directory: string): Promise<void> {
  await runMount(['--bind', '--no-canonicalize', '--', source, directory], directory);
  await remountReadOnly(directory);
}

async function unmountOnce(directory: string): Promise<void> {
  const result = await runAtMost(['umount', '--', directory], { timeoutMs: MOUNT_TIMEOUT_MS });
  if (result.exitCode === 0 || !(await isMountedAt(directory))) return;
  throw new FsbackupError(
    'cleanupIncomplete',
    `${directory} cannot be unmounted: ${describeFailure('umount', result)}`,
    { hint: `See who uses it (fuser -vm ${shellWord(directory)}), end that, then run: fsbackup recover` },
  );
}

/**
 * Unmounts all that is mounted at `directory`, topmost first; a busy one is tried again for some seconds, since a copy
 * program may still be on its way out. Never lazily: what holds the mount would hold the snapshot, unseen. Idempotent.
 * Rejects with `cleanupIncomplete`.
 */
export async function unmount(directory: string): Promise<void> {
  while (await isMountedAt(directory)) {
    await pRetry(() => unmountOnce(directory), { retries: 8, minTimeout: 50, factor: 2, maxTimeout: 1000 });
  }
}
