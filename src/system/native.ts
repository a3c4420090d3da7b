import { createRequire } from 'node:module';

/** The page shared with the watchdog: opaque, made by `createPage`. */
export interface PageHandle {
  readonly __page: unique symbol;
}

/** One slot of the page, as `readPage` gives it. Times in ms of CLOCK_BOOTTIME, 0 for "not yet". */
export interface PageSlot {
  state: number;
  loss: number;
  freezeErrno: number;
  thawErrno: number;
  callMs: number;
  heldMs: number;
  thawBeginMs: number;
  thawedMs: number;
  deadlineMs: number;
}

/** native/addon.c, as it exports itself. */
interface Addon {
  thaw(fd: number): void;
  syncfs(fd: number): Promise<number>;
  ficlone(destinationFd: number, sourceFd: number): Promise<number>;
  probe(fd: number): Promise<number>;
  tryLock(fd: number): boolean;
  memfd(): number;
  boottimeMs(): number;
  pageCreate(slots: number, timeoutMs: number, maxHoldMs: number): { fd: number; page: PageHandle };
  pageRead(page: PageHandle): PageSlot[];
  pageFreeze(page: PageHandle, slot: number, fd: number): Promise<number>;
  pageThaw(page: PageHandle, slot: number, fd: number, loss: number): boolean;
}

let loaded: Addon | undefined;

/** Loaded at the first call: `--help` needs no addon. */
function addon(): Addon {
  loaded ??= createRequire(import.meta.url)('../../native/build/addon.node') as Addon;
  return loaded;
}

/*
 * Every function below throws, or rejects with, an Error that carries `errno`, `code` and `syscall` as Node's own
 * system errors do. A descriptor must stay open until the promise is settled.
 */

/** ioctl(2) FITHAW on the filesystem of `fd`, synchronously: it also drops a freeze that somebody else made. */
export function thaw(fd: number): void {
  addon().thaw(fd);
}

/** syncfs(2): writes what is dirty now, so that a freeze has little left to write. */
export async function syncfs(fd: number): Promise<void> {
  await addon().syncfs(fd);
}

/** ioctl(2) FICLONE: the file of `destinationFd` shares all blocks of `sourceFd`'s. Same filesystem, XFS or btrfs. */
export async function ficlone(destinationFd: number, sourceFd: number): Promise<void> {
  await addon().ficlone(destinationFd, sourceFd);
}

/**
 * Whether somebody holds the filesystem of `fd` frozen, found out by FIFREEZE, the only question the kernel answers:
 * a filesystem that is not frozen is frozen and thawed for an instant. One that cannot be frozen: false.
 */
export async function probeFrozen(fd: number): Promise<boolean> {
  return (await addon().probe(fd)) === 1;
}

/** flock(2) LOCK_EX|LOCK_NB: whether the lock was got. It ends with the last descriptor of this open file. */
export function tryLock(fd: number): boolean {
  return addon().tryLock(fd);
}

/** An anonymous, executable, close-on-exec file. */
export function createMemfd(): number {
  return addon().memfd();
}

/** CLOCK_BOOTTIME in ms, the clock of all times in the page. */
export function boottimeMs(): number {
  return addon().boottimeMs();
}

/** A page for so many filesystems. `timeoutMs` 0: no timeout. The caller closes `fd`. */
export function createPage(
  slots: number,
  timeoutMs: number,
  maxHoldMs: number,
): { fd: number; page: PageHandle } {
  return addon().pageCreate(slots, timeoutMs, maxHoldMs);
}

export function readPage(page: PageHandle): PageSlot[] {
  return addon().pageRead(page);
}

/** FIFREEZE on the thread pool, published in the page. Rejects with ECANCELED when the dead-man was faster. */
export async function freezeSlot(page: PageHandle, slot: number, fd: number): Promise<void> {
  await addon().pageFreeze(page, slot, fd);
}

/**
 * FITHAW of a slot without the watchdog, synchronously; `loss` (0: none) is published as the reason. False when it
 * must be called again a little later: a freeze is in flight, or FITHAW failed.
 */
export function thawSlot(page: PageHandle, slot: number, fd: number, loss: number): boolean {
  return addon().pageThaw(page, slot, fd, loss);
}
