import { closeSync } from 'node:fs';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { thaw as fithaw } from '../system/native.js';
import { isAlive } from '../system/process-identity.js';
import { askWatchdog } from './control-client.js';
import { NoReply } from './frame-connection.js';
import {
  adoptRecord,
  findRecord,
  readRecords,
  type FreezeRecord,
  type FreezeRecordBody,
} from './freeze-record.js';
import type { LossReason } from './freezer.js';
import { killGuards } from './kill-guards.js';
import { openFilesystem, openMount } from './mountpoint.js';
import { FrameType, lossReason, type Reply } from './protocol.js';

const REPLY_MS = 1000;

/** What each reason of a loss means, and what it asks for. */
const LOSSES: Readonly<Record<LossReason, string>> = {
  timeout: 'no reset came within the timeout, so the dead-man thawed it',
  'max-hold': 'it was held for the longest time allowed (max-hold), so the dead-man thawed it',
  'holder-died': 'the command that held it died, so the dead-man thawed it',
  'third-party': 'somebody else thawed it',
  'guard-died': 'a watchdog was killed, so it was thawed',
  signal: 'the watchdog was told to end by a signal, so it thawed it',
};

/** The EINVAL of the 2008 ioctl. */
function lostError(mountpoint: string, reason: LossReason): FsbackupError {
  return new FsbackupError(
    'freezeLost',
    `${mountpoint} was not frozen any more (EINVAL): ${LOSSES[reason]}`,
    {
      hint: 'Discard the snapshot that was taken under this freeze: it may not be consistent. Then freeze again.',
    },
  );
}

function notOurs(mountpoint: string): FsbackupError {
  return new FsbackupError('notFrozen', `${mountpoint} is not frozen by fsbackup; nothing was touched`, {
    hint: `See "fsbackup status"; "fsbackup thaw --force ${mountpoint}" ends a freeze that is not ours.`,
  });
}

/** The freeze of the filesystem at `path`, in a guard's care. Rejects with what became of it when there is none. */
async function heldRecord(path: string): Promise<FreezeRecordBody> {
  const { fd, mount } = await openMount(path);
  closeSync(fd);
  const record = findRecord(mount);
  if (record === undefined || record.status.kind === 'thawed') throw notOurs(path);
  if (record.status.kind === 'lost') throw lostError(path, record.status.reason);
  return record.body;
}

function thawFailed({ mountpoint }: FreezeRecordBody, why: string): FsbackupError {
  return new FsbackupError('thawFailed', `${mountpoint} may still be frozen: ${why}`, {
    hint: `Run "fsbackup thaw --force ${mountpoint}", and see the kernel log (dmesg).`,
  });
}

function slotVerdict(body: FreezeRecordBody, reply: Reply): void {
  const slot = reply.slots[body.slot];
  const lost = slot === undefined ? undefined : lossReason(slot.loss);
  // Taken away from a running command, just now and by us: that command is told, not we.
  const takenByUs = !body.detached && lost === 'third-party' && slot?.thawErrno === 0;
  if (takenByUs) return;
  if (lost !== undefined) throw lostError(body.mountpoint, lost);
  if (reply.error === 0) return;
  throw thawFailed(body, `FITHAW failed with errno ${reply.error}`);
}

function ownedByCommand(body: FreezeRecordBody): FsbackupError {
  return new FsbackupError(
    'notFrozen',
    `${body.mountpoint} is held by a running command (pid ${body.owner.pid}: ${body.owner.command})`,
    {
      hint: 'That command resets it by itself, until it is done with it.',
    },
  );
}

/**
 * Proves that the freeze is still held, and gives it `timeoutMs` (0: none; undefined: as frozen) from now. Rejects with `freezeLost` when it
 * was lost, with `notFrozen` when it is not ours.
 */
export async function resetByHand(
  path: string,
  timeoutMs: number | undefined,
): Promise<{ expiresInMs: number }> {
  const body = await heldRecord(path);
  if (!body.detached) throw ownedByCommand(body);
  const reply = await askWatchdog(
    body.controlPath,
    { type: FrameType.reset, slot: body.slot, timeoutMs: timeoutMs ?? (body.timeoutSeconds ?? 0) * 1000 },
    REPLY_MS,
  ).catch((error: unknown) => {
    if (!(error instanceof NoReply)) throw error;
    throw new FsbackupError(
      'freezeLost',
      `the watchdog of ${path} does not answer; the second will thaw at the deadline`,
      {
        hint: `Thaw it now with "fsbackup thaw ${path}" and freeze again.`,
        cause: error,
      },
    );
  });
  // The guards ended between our look and our question: the record tells how.
  if (reply === undefined) throw await endedError(path);
  slotVerdict(body, reply);
  return { expiresInMs: (reply.slots[body.slot]?.deadlineMs ?? 0) - reply.nowMs };
}

async function endedError(path: string): Promise<FsbackupError> {
  return await heldRecord(path).then(
    () => lostError(path, 'guard-died'),
    (error: unknown) => {
      if (error instanceof FsbackupError) return error;
      throw error;
    },
  );
}

/** Thaws a freeze whose guards are dead or stopped. A FITHAW that fails leaves both the guards and the record alone. */
async function thawWithoutGuards(body: FreezeRecordBody): Promise<void> {
  const fd = await openFilesystem(body);
  if (fd === undefined) throw thawFailed(body, 'it is not mounted here any more');
  let lost = false;
  try {
    fithaw(fd);
  } catch (error) {
    lost = errnoOf(error) === 'EINVAL';
    if (!lost) throw thawFailed(body, messageOf(error));
  } finally {
    closeSync(fd);
  }
  killGuards(body.watchdogPids);
  await adoptRecord(body.majorMinor, async ({ status }, setStatus) => {
    if (status.kind !== 'armed') return;
    setStatus(
      lost ? { kind: 'lost', reason: 'guard-died', at: new Date().toISOString() } : { kind: 'thawed' },
    );
  });
  if (lost) throw lostError(body.mountpoint, 'guard-died');
}

async function thawRecord(body: FreezeRecordBody): Promise<void> {
  let reply: Reply | undefined;
  try {
    reply = await askWatchdog(body.controlPath, { type: FrameType.thaw, slot: body.slot }, REPLY_MS);
  } catch (error) {
    if (!(error instanceof NoReply)) throw error;
    await thawWithoutGuards(body);
    return;
  }
  if (reply !== undefined) slotVerdict(body, reply);
  // The guards are gone: either they thawed and said so in the record meanwhile, or they died with it frozen.
  else if (findRecord(body)?.status.kind === 'armed') await thawWithoutGuards(body);
  else throw await endedError(body.mountpoint);
}

/**
 * Ends a freeze that fsbackup made and left in the care of its watchdogs. Rejects with `freezeLost` when it had been
 * lost before, with `notFrozen` when it is not ours: then nothing is touched.
 */
export async function thawByHand(path: string): Promise<void> {
  await thawRecord(await heldRecord(path));
}

/** What of this boot is in a guard's care, or was left by dead ones. */
function heldRecords(): FreezeRecord[] {
  return readRecords().filter(({ status }) => status.kind === 'armed');
}

/** What several thaws brought: each is tried, whatever became of the others. */
export interface ThawReport {
  thawed: string[];
  failures: unknown[];
}

/**
 * A filesystem is frozen before those that it lies on, and its FITHAW waits for theirs: what was frozen last is to be
 * thawed first. For sort.
 */
function byThawOrder(a: FreezeRecordBody, b: FreezeRecordBody): number {
  return Date.parse(b.since) - Date.parse(a.since) || b.slot - a.slot;
}

/**
 * Mountpoints in the order in which they can be thawed; first those that fsbackup does not hold, as they were given. All
 * names of one filesystem that it holds (a bind mount, a symlink) are together: `freeze` takes them for one, too.
 */
export async function inThawOrder(mountpoints: readonly string[]): Promise<string[][]> {
  const held = new Map<string, { names: string[]; body: FreezeRecordBody }>();
  const others: string[][] = [];
  for (const path of mountpoints) {
    // Why it is not held is told when it is thawed.
    const body = await heldRecord(path).catch(() => undefined);
    if (body === undefined) others.push([path]);
    else {
      const known = held.get(body.majorMinor);
      if (known === undefined) held.set(body.majorMinor, { names: [path], body });
      else known.names.push(path);
    }
  }
  const ordered = [...held.values()].toSorted((a, b) => byThawOrder(a.body, b.body));
  return [...others, ...ordered.map(({ names }) => names)];
}

/** Thaws each with `thaw`, by the first of its names, in this order, going on past failures. */
export async function thawEach(
  filesystems: readonly (readonly string[])[],
  thaw: (mountpoint: string) => Promise<void>,
): Promise<ThawReport> {
  const report: ThawReport = { thawed: [], failures: [] };
  for (const names of filesystems) {
    const [mountpoint] = names;
    if (mountpoint === undefined) continue;
    try {
      await thaw(mountpoint);
      report.thawed.push(...names);
    } catch (error) {
      report.failures.push(error);
    }
  }
  return report;
}

/**
 * Thaws everything that fsbackup holds; what a running command holds too, which then learns that it was lost.
 * `orphaned`: only what was frozen by a command that is dead, and was not left to the watchdogs on purpose.
 */
export async function thawAll({ orphaned = false } = {}): Promise<ThawReport> {
  const bodies = heldRecords().map(({ body }) => body);
  const chosen = orphaned ? bodies.filter(({ detached, owner }) => !detached && !isAlive(owner.pid)) : bodies;
  const held = new Map(chosen.toSorted(byThawOrder).map((body) => [body.mountpoint, body]));
  return await thawEach(
    [...held.keys()].map((mountpoint) => [mountpoint]),
    async (mountpoint) => {
      const body = held.get(mountpoint);
      if (body !== undefined) await thawRecord(body);
    },
  );
}

/**
 * The emergency exit: a bare FITHAW, whoever froze it. Rejects with `notFrozen` when it was not frozen.
 * Blocks as long as the kernel does.
 */
export async function thawForcibly(path: string): Promise<void> {
  const { fd } = await openMount(path);
  try {
    fithaw(fd);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    throw new FsbackupError('notFrozen', `${path} was not frozen`, {
      hint: 'Nothing needs to be done; if something hangs there, a filesystem or device below it may be frozen or suspended.',
      cause: error,
    });
  } finally {
    closeSync(fd);
  }
}
