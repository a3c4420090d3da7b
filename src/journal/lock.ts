import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { ensurePrivateDirectory } from '../system/directories.js';
import { isCurrent } from '../system/passing-lock.js';
import { isAlive } from '../system/process-identity.js';

/** flock(2) with LOCK_EX|LOCK_NB: false when another open file description holds it. */
export type TryLock = (fd: number) => boolean;

/** What the lock file says of its holder. That the lock is held is what counts: this is for messages, and for who may wait. */
export interface LockHolder {
  pid: number;
  startTime: number;
  runId: string;
  command: string;
  /** It holds the lock to release what a dead owner left, and no longer than that takes. */
  isRecovery?: boolean;
}

/** A lock that is held. */
export interface Lock {
  readonly name: string;
  /** Idempotent. The end of the process releases it too. */
  release(): Promise<void>;
}

export interface LockDependencies {
  tryLock: TryLock;
  /**
   * Each holds one file per lock; made when it is not there. The lock is held when those of all are: processes that share any
   * of them exclude each other, two containers with one state directory and a /run of their own among them.
   */
  directories: readonly [string, ...string[]];
  holder: LockHolder;
}

export interface LockWait {
  /** How long to wait for a busy lock; 0: not at all; undefined: not at all, and the command has no flag for it. */
  waitMs: number | undefined;
  signal: AbortSignal;
  /** Told once, where more than a moment is waited: for whom, a sentence without its full stop. */
  onWait?: ((message: string) => void) | undefined;
}

const POLL_MS = 100;
/** Between taking a lock and telling who did. */
const TELL_MS = 500;

export function jobLockName(job: string): string {
  return `job-${encodeURIComponent(job)}`;
}

/** A target is locked by its path, which may hold anything and be longer than a file name. */
export function targetLockName(targetPath: string): string {
  return `target-${createHash('sha256').update(targetPath).digest('hex').slice(0, 16)}`;
}

function lockFile(directory: string, name: string): string {
  return path.join(directory, `${name}.lock`);
}

async function openLockFile(directory: string, file: string): Promise<FileHandle> {
  try {
    await ensurePrivateDirectory(directory);
    // Node opens with O_CLOEXEC: no child inherits the lock.
    return await open(file, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    const code = errno === 'EACCES' || errno === 'EPERM' ? 'usage' : 'failed';
    throw new FsbackupError(code, `cannot make the lock ${file}: ${messageOf(error)}`, {
      hint: 'Run fsbackup as root, and see that its run and state directories can be written to.',
      cause: error,
    });
  }
}

/** Who holds it is for messages alone: where there is no room to write that down, it is held all the same. */
async function tell(handle: FileHandle, holder: LockHolder | undefined): Promise<void> {
  try {
    await handle.truncate(0);
    if (holder !== undefined) await handle.write(`${JSON.stringify(holder)}\n`, 0);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** What flock(2) says where a filesystem of a network knows none. */
const NO_LOCKS = new Set(['ENOLCK', 'EOPNOTSUPP', 'ENOSYS']);

/** Takes the lock's file in one directory; undefined when it is busy. */
async function lockIn(
  directory: string,
  name: string,
  { tryLock, holder }: Pick<LockDependencies, 'tryLock' | 'holder'>,
): Promise<FileHandle | undefined> {
  const file = lockFile(directory, name);
  for (;;) {
    const handle = await openLockFile(directory, file);
    let keep = false;
    try {
      if (!tryLock(handle.fd)) return undefined;
      if (!(await isCurrent(handle, file))) continue;
      keep = true;
      await tell(handle, holder);
      return handle;
    } finally {
      if (!keep) await handle.close();
    }
  }
}

/** The files stay: unlinking a lock file that another waits for splits the lock in two. */
async function letGo(handles: readonly FileHandle[]): Promise<void> {
  for (const handle of handles) {
    try {
      await tell(handle, undefined);
    } finally {
      await handle.close();
    }
  }
}

/**
 * Takes the lock `name` now, or resolves to undefined when it is busy. Rejects with `failed` when a file of it cannot be
 * made, with `usage` for want of permission. Where the filesystem of a further directory has no locks, the first has to do.
 */
export async function tryAcquireLock(
  name: string,
  dependencies: LockDependencies,
): Promise<Lock | undefined> {
  const held: FileHandle[] = [];
  let isComplete = false;
  try {
    for (const directory of dependencies.directories) {
      try {
        const handle = await lockIn(directory, name, dependencies);
        if (handle === undefined) return undefined;
        held.push(handle);
      } catch (error) {
        if (held.length === 0 || !NO_LOCKS.has(errnoOf(error) ?? '')) throw error;
      }
    }
    isComplete = true;
  } finally {
    if (!isComplete) await letGo(held);
  }
  let released = false;
  return {
    name,
    async release() {
      if (released) return;
      released = true;
      await letGo(held);
    },
  };
}

/**
 * Takes the locks of jobs whose dead owners left something; undefined when one lives. `own` is the job whose lock the caller
 * holds. A run of the job that comes meanwhile is not refused: it waits.
 */
export function locksForRecovery(
  dependencies: LockDependencies,
  own?: string,
): (job: string) => Promise<Lock | undefined> {
  const holder = { ...dependencies.holder, isRecovery: true };
  return async (job) =>
    job === own
      ? { name: job, release: async () => undefined }
      : await tryAcquireLock(jobLockName(job), { ...dependencies, holder });
}

type ToldHolder = Pick<LockHolder, 'pid' | 'command' | 'isRecovery'>;

/** Undefined where the file does not tell. */
async function readHolderIn(name: string, directory: string): Promise<ToldHolder | undefined> {
  try {
    const holder: unknown = JSON.parse(await readFile(lockFile(directory, name), 'utf8'));
    if (typeof holder !== 'object' || holder === null || !('pid' in holder && 'command' in holder))
      return undefined;
    return {
      pid: Number(holder.pid),
      command: String(holder.command),
      isRecovery: 'isRecovery' in holder && holder.isRecovery === true,
    };
  } catch {
    // Where it cannot be read, the lock is held all the same.
    return undefined;
  }
}

/** Undefined where no file tells. */
async function readHolder(name: string, directories: readonly string[]): Promise<ToldHolder | undefined> {
  for (const directory of directories) {
    const holder = await readHolderIn(name, directory);
    if (holder !== undefined) return holder;
  }
  return undefined;
}

function describe(holder: ToldHolder | undefined): string {
  return holder === undefined ? 'another process' : `process ${holder.pid} (${holder.command})`;
}

/**
 * Takes the lock `name`, waiting as long as asked; and for a recovery as long as that takes, since who gets the lock would have
 * to do the same first. `what` names it to people: `job srv`.
 * Rejects with `locked`, naming the holder, when it stays busy, and with the signal's reason when aborted.
 */
export async function acquireLock(
  name: string,
  what: string,
  dependencies: LockDependencies,
  { waitMs, signal, onWait }: LockWait,
): Promise<Lock> {
  const begun = performance.now();
  const deadline = begun + (waitMs ?? 0);
  let isToldOf = false;
  let untoldSince: number | undefined;
  for (;;) {
    signal.throwIfAborted();
    const lock = await tryAcquireLock(name, dependencies);
    if (lock !== undefined) return lock;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) {
      const holder = await readHolder(name, dependencies.directories);
      const isTold = holder !== undefined && isAlive(holder.pid);
      // Who lets go of it empties the file first: a recovery that ends is one no more for a moment.
      untoldSince = isTold ? undefined : (untoldSince ?? performance.now());
      if (isTold ? holder.isRecovery !== true : performance.now() - (untoldSince ?? 0) >= TELL_MS) {
        throw new FsbackupError('locked', `${what} is in use by ${describe(holder)}`, {
          hint:
            waitMs === undefined
              ? 'Wait until it has finished, then run the command again.'
              : 'Wait until it has finished, or let this run wait with --lock-wait 10m.',
        });
      }
    }
    // Until then the holder may not have been told.
    if (!isToldOf && performance.now() - begun > TELL_MS) {
      isToldOf = true;
      const holder = await readHolder(name, dependencies.directories);
      onWait?.(`waiting for ${describe(holder)}, which has ${what}`);
    }
    await sleep(leftMs > 0 ? Math.min(POLL_MS, leftMs) : POLL_MS, undefined, { signal }).catch(
      (error: unknown) => {
        // The sleep rejects with an AbortError of its own; the reason is what counts.
        signal.throwIfAborted();
        throw error;
      },
    );
  }
}
