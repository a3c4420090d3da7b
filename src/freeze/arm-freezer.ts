import { closeSync, constants, openSync } from 'node:fs';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { ownCommandLine } from '../system/command-line.js';
import { ensurePrivateDirectory, runDirectory } from '../system/directories.js';
import { boottimeMs, createPage } from '../system/native.js';
import { endDeadFreeze } from './dead-freeze.js';
import {
  isOfAnotherDisk,
  lockRecord,
  readBootId,
  readLocked,
  writeRecord,
  writeStatus,
} from './freeze-record.js';
import { DeviceWatch } from './device-watch.js';
import type { FreezeOptions, FreezeRequest, FreezeTarget } from './freezer.js';
import { FreezeSet, type FreezerSlot } from './freeze-set.js';
import { GuardedFreezer } from './guarded-freezer.js';
import { openMount } from './mountpoint.js';
import { MAX_DEVICES, MAX_SLOTS } from './protocol.js';
import { keepUntold } from './untold-losses.js';
import { startWatchdog, type Watchdog } from './watchdog-process.js';

const MAX_SOCKET_PATH = 107;
/** Whoever is told who holds it needs no more of a script. */
const MAX_COMMAND = 1000;

export interface ArmOptions extends FreezeOptions {
  /** The freeze will be handed over to the watchdog, which then owns it: what it is known by from then on. */
  freezeId?: string;
}

/**
 * A record is about to be overwritten: what it tells is not to be lost. A freeze that all who guarded are dead of is ended, since
 * nobody would know of it any more; a loss that nobody has asked for is kept. Rejects with `thawFailed` where something may still be
 * frozen, with `failed` where a loss cannot be kept.
 */
async function settleBefore(recordFd: number, { fstype }: FreezeTarget): Promise<void> {
  const before = readLocked(recordFd);
  if (before === undefined || before.body.fstype !== fstype || isOfAnotherDisk(before.body)) return;
  if (before.status.kind === 'armed') {
    await endDeadFreeze(before.body);
    before.status = { kind: 'lost', reason: 'guard-died', at: new Date().toISOString() };
    writeStatus(recordFd, before.status);
  }
  keepUntold(before);
}

/** Opens one target and takes its lock. */
async function openSlot(target: FreezeTarget): Promise<FreezerSlot> {
  const { fd, mount } = await openMount(target.mountpoint);
  if (mount.majorMinor !== target.majorMinor) {
    closeSync(fd);
    throw new FsbackupError(
      'notFrozen',
      `${target.mountpoint} is no longer the filesystem ${target.majorMinor}, but ${mount.majorMinor}`,
      {
        hint: 'Something was mounted or unmounted there just now; run the command again.',
      },
    );
  }
  let recordFd: number | undefined;
  try {
    recordFd = await lockRecord(target);
    await settleBefore(recordFd, target);
    return { target, mountpointFd: fd, recordFd };
  } catch (error) {
    if (recordFd !== undefined) closeSync(recordFd);
    closeSync(fd);
    throw error;
  }
}

/** A socket's name has its end in struct sockaddr_un (unix(7)). */
function refuseLong(controlPath: string): void {
  const excess = Buffer.byteLength(controlPath) - MAX_SOCKET_PATH;
  if (excess <= 0) return;
  throw new FsbackupError('usage', `the run directory's path is too long for a socket, by ${excess} bytes`, {
    hint: `Name a shorter one by FSBACKUP_RUN_DIR than ${runDirectory()}.`,
  });
}

/**
 * Takes the superblock locks, opens the mountpoints and starts the dead-man over them; nothing is frozen yet. The order
 * of `targets` is that of the freeze, top-down. See `ArmFreezer` for how it fails.
 */
export async function armFreezer(
  { targets, devices }: FreezeRequest,
  options: ArmOptions,
): Promise<GuardedFreezer> {
  if (targets.length + devices.length < 1 || targets.length > MAX_SLOTS || devices.length > MAX_DEVICES) {
    const many = targets.length > MAX_SLOTS ? `${targets.length} filesystems` : `${devices.length} devices`;
    throw new FsbackupError('usage', `${many} cannot be guarded together`, {
      hint: `Freeze 1 to ${MAX_SLOTS} filesystems at a time, on no more than ${MAX_DEVICES} device-mapper devices.`,
    });
  }
  const controlDirectory = path.join(runDirectory(), 'control');
  await ensurePrivateDirectory(controlDirectory);
  const controlPath = path.join(controlDirectory, `${process.pid}-${Date.now().toString(36)}`);
  refuseLong(controlPath);
  const slots: FreezerSlot[] = [];
  let pageFd: number | undefined;
  let expediteFd: number | undefined;
  let watch: DeviceWatch | undefined;
  let watchdog: Watchdog | undefined;
  try {
    for (const target of targets) slots.push(await openSlot(target));
    const shared = createPage(slots.length, options.timeoutMs ?? 0, options.maxHoldMs);
    pageFd = shared.fd;
    if (devices.length > 0) watch = await DeviceWatch.create(devices, shared.page);
    expediteFd = openSync(
      path.join(runDirectory(), 'rcu-expedited'),
      constants.O_RDWR | constants.O_CREAT,
      0o600,
    );
    watchdog = await startWatchdog({
      pageFd,
      expediteFd,
      mountpointFds: slots.map((slot) => slot.mountpointFd),
      recordFds: slots.map((slot) => slot.recordFd),
      controlPath,
      ...(watch === undefined ? {} : { deviceControlFd: watch.controlFd }),
    });
    const since = new Date().toISOString();
    const sinceMs = boottimeMs();
    for (const [index, slot] of slots.entries()) {
      writeRecord(slot.recordFd, {
        version: 1,
        ...slot.target,
        bootId: readBootId(),
        since,
        sinceMs,
        timeoutSeconds: options.timeoutMs === null ? null : options.timeoutMs / 1000,
        maxHoldSeconds: options.maxHoldMs / 1000,
        slot: index,
        controlPath,
        detached: options.freezeId !== undefined,
        ...(options.freezeId === undefined ? {} : { freezeId: options.freezeId }),
        owner: { pid: process.pid, command: ownCommandLine().slice(0, MAX_COMMAND) },
        watchdogPids: watchdog.pids,
      });
    }
    return new GuardedFreezer(new FreezeSet(slots, watch, shared.page), options, watchdog);
  } catch (error) {
    // They would keep the locks for as long as we live.
    await watchdog?.quit();
    await watchdog?.end();
    watch?.close();
    for (const slot of slots) {
      closeSync(slot.mountpointFd);
      closeSync(slot.recordFd);
    }
    throw error;
  } finally {
    if (pageFd !== undefined) closeSync(pageFd);
    if (expediteFd !== undefined) closeSync(expediteFd);
  }
}
