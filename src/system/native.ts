import { createRequire } from 'node:module';
import path from 'node:path';
import { packageRoot } from './package-root.js';

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
  /** 1 while a probe of the watchdog may still freeze, whatever the state says. */
  probing: number;
  /** 1 where somebody else's freeze, made while our FIFREEZE was in flight, was ended by a FITHAW of ours. */
  endedAnothers: number;
}

/** One device of the page, as `readWatch` gives it. */
export interface WatchedDevice {
  /** 1 when it was left suspended and one of the three processes resumed it. */
  resumed: number;
  /** Of the last look at it, or try to resume it, that failed; else 0. */
  errno: number;
  resumedMs: number;
  firstSuspendedMs: number;
  /** How long it was suspended in all, as an upper bound. */
  suspendedMs: number;
}

/** What the page says of its devices. Times in ms of CLOCK_BOOTTIME, 0 for "not yet". */
export interface WatchFacts {
  state: number;
  loss: number;
  deadlineMs: number;
  /** The longest time between two looks that both saw a device running. */
  longestGapMs: number;
  devices: WatchedDevice[];
}

/** What `btrfsSubvolume` tells. UUIDs as 36 characters, left out where there is none. */
export interface SubvolumeFacts {
  uuid: string;
  parentUuid?: string;
  receivedUuid?: string;
  /** The transaction that changed it last; to make a snapshot of it does. */
  generation: number;
  /** That in which something in it was changed last; to deduplicate it counts, and to make it writable or move its blocks does not. */
  lastChange: number;
  /** Seconds since 1970, with a fraction. */
  receivedAt?: string;
  isReadOnly: boolean;
}

/** native/addon.c, as it exports itself. */
interface Addon {
  thawTask(fd: number): Promise<number>;
  syncfs(fd: number): Promise<number>;
  ficlone(destinationFd: number, sourceFd: number): Promise<number>;
  openDirectory(beneathFd: number, directory: string): Promise<number>;
  probe(fd: number): Promise<number>;
  xfsReservedBlocks(fd: number): number;
  btrfsSubvolume(fd: number): SubvolumeFacts;
  loopReads(loopFd: number, fileFd: number): Promise<number>;
  forgetCached(file: string): Promise<number>;
  readAttributes(file: Buffer, into: Buffer): Promise<number>;
  setAttribute(file: Buffer, name: Buffer, value: Buffer): Promise<number>;
  tryLock(fd: number): boolean;
  memfd(): number;
  boottimeMs(): number;
  pageCreate(slots: number, timeoutMs: number, maxHoldMs: number): { fd: number; page: PageHandle };
  pageRead(page: PageHandle): PageSlot[];
  pageFreeze(page: PageHandle, slot: number, fd: number): Promise<number>;
  pageProbe(page: PageHandle, slot: number, fd: number): Promise<number>;
  pageThaw(page: PageHandle, slot: number, fd: number, loss: number): Promise<number>;
  pageAddDevice(page: PageHandle, major: number, minor: number): void;
  deviceIsSuspended(controlFd: number, major: number, minor: number): boolean;
  watchOpen(page: PageHandle): void;
  watchRead(page: PageHandle): WatchFacts;
  watchSettle(page: PageHandle, controlFd: number, loss: number): Promise<number>;
  measureStart(page: PageHandle, controlFd: number): Promise<number>;
  measureStop(page: PageHandle): void;
  commandStarting(page: PageHandle): number;
  commandStarted(page: PageHandle, command: number, processGroup: number): void;
  commandEnded(page: PageHandle, command: number): void;
}

let loaded: Addon | undefined;

/** Loaded at the first call: `--help` needs no addon. */
function addon(): Addon {
  const file = path.join(packageRoot(), 'native/build/addon.node');
  loaded ??= createRequire(import.meta.url)(file) as Addon;
  return loaded;
}

/*
 * Every function below throws, or rejects with, an Error that carries `errno`, `code` and `syscall` as Node's own
 * system errors do. A descriptor must stay open until the promise is settled.
 */

/**
 * ioctl(2) FITHAW on the filesystem of `fd`: it also drops a freeze that somebody else made. In a thread of its own: it waits for what
 * lies below, and for a device that does not answer.
 */
export async function thawInBackground(fd: number): Promise<void> {
  await addon().thawTask(fd);
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
 * openat2(2) with RESOLVE_NO_SYMLINKS: an O_PATH descriptor of a directory that no symlink leads to, to be closed. With
 * `beneathFd` the path is relative to that directory and does not leave it (RESOLVE_BENEATH). Rejects with ELOOP for a
 * symlink anywhere in the path, with ENOENT, ENOTDIR as open(2).
 */
export async function openDirectory(directory: string, beneathFd = -1): Promise<number> {
  return await addon().openDirectory(beneathFd, directory);
}

/**
 * Whether somebody holds the filesystem of `fd` frozen, found out by FIFREEZE, the only question the kernel answers:
 * a filesystem that is not frozen is frozen and thawed for an instant. One that cannot be frozen: false.
 */
export async function probeFrozen(fd: number): Promise<boolean> {
  return (await addon().probe(fd)) === 1;
}

/** The blocks that the XFS of `fd` holds in reserve: 0 while it is frozen. Throws ENOTTY for another filesystem. */
export function xfsReservedBlocks(fd: number): number {
  return addon().xfsReservedBlocks(fd);
}

/**
 * The btrfs subvolume that the file of `fd` lies in (ioctl(2) BTRFS_IOC_GET_SUBVOL_INFO, Linux 4.18). Throws ENOTTY for another
 * filesystem.
 */
export function btrfsSubvolume(fd: number): SubvolumeFacts {
  return addon().btrfsSubvolume(fd);
}

/**
 * Whether the loop device of `loopFd` reads the very file of `fileFd` (ioctl(2) LOOP_GET_STATUS64, loop(4)). Rejects with ENXIO
 * for one that nothing is attached to, with ENOTTY for what is no loop device.
 */
export async function loopReads(loopFd: number, fileFd: number): Promise<boolean> {
  return (await addon().loopReads(loopFd, fileFd)) === 1;
}

/**
 * Has the kernel forget what it has in memory of a file, or of all files below a directory, behind no symlink (posix_fadvise(2)
 * POSIX_FADV_DONTNEED): who reads them next reads the disk. What is not written back yet, or mapped, stays, and so does what
 * cannot be opened; ZFS keeps what it has. Rejects as nftw(3) does, with ENOENT for one that is not there.
 */
export async function forgetCached(file: string): Promise<void> {
  await addon().forgetCached(file);
}

/**
 * All extended attributes (xattr(7)) of a file, of a symlink itself, into a buffer; resolves to how much of it they take: for each its
 * name and a NUL, the length of its value in four bytes of the machine's order, its value. Rejects with ERANGE where it is too small.
 */
export async function readAttributes(file: Buffer, into: Buffer): Promise<number> {
  return await addon().readAttributes(file, into);
}

/** lsetxattr(2). */
export async function setAttribute(file: Buffer, name: Buffer, value: Buffer): Promise<void> {
  await addon().setAttribute(file, name, value);
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

/** A page for so many filesystems, 0 where there are only devices. `timeoutMs` 0: no timeout. The caller closes `fd`. */
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
 * FIFREEZE and at once FITHAW, in one thread of the pool, published in the page: proof that nobody holds the filesystem
 * frozen. Rejects with EBUSY when somebody does, who keeps it, and with ECANCELED when the dead-man was faster. Resolves
 * to false when FITHAW failed: then it is still frozen, by us.
 */
export async function probeSlot(page: PageHandle, slot: number, fd: number): Promise<boolean> {
  return (await addon().pageProbe(page, slot, fd)) === 1;
}

/**
 * FITHAW of a slot without the watchdog, in a thread of its own: it waits for what lies below, and for a FIFREEZE in flight. `loss`
 * (0: none) is published as the reason. False when it must be called again a little later: a freeze is in flight, or FITHAW failed.
 */
export async function thawSlot(page: PageHandle, slot: number, fd: number, loss: number): Promise<boolean> {
  return (await addon().pageThaw(page, slot, fd, loss)) === 1;
}

/** Adds a device-mapper device to a page that no guard has seen yet: the upper before the lower. */
export function addDevice(page: PageHandle, majorMinor: string): void {
  const [major = 0, minor = 0] = majorMinor.split(':').map(Number);
  addon().pageAddDevice(page, major, minor);
}

/** Whether a device-mapper device is suspended. `controlFd`: an open /dev/mapper/control. */
export function isSuspended(controlFd: number, majorMinor: string): boolean {
  const [major = 0, minor = 0] = majorMinor.split(':').map(Number);
  return addon().deviceIsSuspended(controlFd, major, minor);
}

/** From now on the deadline counts for the page's devices. Throws ECANCELED when the dead-man was faster. */
export function openWatch(page: PageHandle): void {
  addon().watchOpen(page);
}

export function readWatch(page: PageHandle): WatchFacts {
  return addon().watchRead(page);
}

/**
 * Resumes what is suspended without the watchdog, in a thread of its own, as the guards do it: programs that live are given
 * a second, and then killed. Resolves, after seconds at most, to the state of the watch.
 */
export async function settleWatch(page: PageHandle, controlFd: number, loss: number): Promise<number> {
  return await addon().watchSettle(page, controlFd, loss);
}

/** Measures for how long the page's devices are suspended. Resolves soon after `stopMeasuring`. */
export async function measureDevices(page: PageHandle, controlFd: number): Promise<void> {
  await addon().measureStart(page, controlFd);
}

export function stopMeasuring(page: PageHandle): void {
  addon().measureStop(page);
}

/**
 * Publishes that a program is about to be started; returns the number for the two that follow. Throws ECANCELED when
 * the watch is not open, EAGAIN when there are too many.
 */
export function publishStarting(page: PageHandle): number {
  return addon().commandStarting(page);
}

/** Publishes its process group; kills it where the watch has ended meanwhile. */
export function publishStarted(page: PageHandle, command: number, processGroup: number): void {
  addon().commandStarted(page, command, processGroup);
}

/** Withdraws it. */
export function publishEnded(page: PageHandle, command: number): void {
  addon().commandEnded(page, command);
}
