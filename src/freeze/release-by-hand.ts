import { closeSync } from 'node:fs';
import { errnoOf, FsbackupError } from '../errors.js';
import { thaw as fithaw } from '../system/native.js';
import { isAlive } from '../system/process-identity.js';
import { askWatchdog } from './control-client.js';
import { NoReply } from './frame-connection.js';
import { findRecord, readRecords, type FreezeRecord, type FreezeRecordBody } from './freeze-record.js';
import { isGuard, isStopped } from './kill-guards.js';
import { openMount } from './mountpoint.js';
import { FrameType, SlotState, type Reply } from './protocol.js';
import { lostError, slotVerdict } from './slot-verdict.js';
import { byThawOrder, thawWithoutGuards, type Asked } from './thaw-without-guards.js';
import { suggested } from '../system/command-line.js';

const REPLY_MS = 1000;
/** How long a watchdog that works may take for a thaw before we do it ourselves. */
const PATIENCE_MS = 30_000;

function notOurs(mountpoint: string): FsbackupError {
  return new FsbackupError('notFrozen', `${mountpoint} is not frozen by fsbackup; nothing was touched`, {
    hint: `See "fsbackup status"; \`${suggested('thaw', ['--force', mountpoint])}\` ends a freeze that is not ours.`,
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

function ownedByCommand(body: FreezeRecordBody): FsbackupError {
  return new FsbackupError(
    'notFrozen',
    `${body.mountpoint} is held by a running command (pid ${body.owner.pid}: ${body.owner.command})`,
    {
      hint: 'That command resets it by itself, until it is done with it.',
    },
  );
}

const NOT_YET: ReadonlySet<number> = new Set([SlotState.idle, SlotState.calling]);

/** Whether the watchdog says that not all of its filesystems are frozen yet: nobody is its owner then, to reset it. */
async function isBeingFrozen({ controlPath }: FreezeRecordBody): Promise<boolean> {
  const reply = await askWatchdog(controlPath, { type: FrameType.status }, REPLY_MS).catch(() => undefined);
  return reply?.slots.some(({ state }) => NOT_YET.has(state)) === true;
}

/** Why a reset was not answered. */
async function unansweredError(body: FreezeRecordBody, cause: NoReply): Promise<FsbackupError> {
  const { mountpoint, owner } = body;
  if (await isBeingFrozen(body)) {
    return new FsbackupError(
      'notFrozen',
      `${mountpoint} is not frozen yet: pid ${owner.pid} (${owner.command}) is at it`,
      { hint: 'Wait until that command ends, which says whether it is frozen.', cause },
    );
  }
  return new FsbackupError(
    'freezeLost',
    `the watchdog of ${mountpoint} does not answer; the second will thaw at the deadline`,
    { hint: `Thaw it now with \`${suggested('thaw', [mountpoint])}\` and freeze again.`, cause },
  );
}

/**
 * Proves that the freeze is still held, and gives it `timeoutMs` (0: none; undefined: as frozen) from now. Rejects with `freezeLost` when it
 * was lost, with `notFrozen` when it is not ours, or not frozen yet.
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
  ).catch(async (error: unknown) => {
    throw error instanceof NoReply ? await unansweredError(body, error) : error;
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

/** By ourselves, where no guard does it. */
async function thawInPlaceOfGuards(body: FreezeRecordBody, asked: Asked): Promise<void> {
  const lost = await thawWithoutGuards(body, asked);
  if (lost !== undefined) throw lostError(body.mountpoint, lost);
}

/** Whether the watchdog is at it: for half a minute, unless it is stopped. A FITHAW waits for what lies below. */
function isAtIt({ watchdogPids: [watchdog = 0] }: FreezeRecordBody): () => boolean {
  const giveUpAt = performance.now() + PATIENCE_MS;
  return () => performance.now() < giveUpAt && isGuard(watchdog) && !isStopped(watchdog);
}

/** Thaws one that was held when we began. `asked`: all that are to be thawed, this one among them. */
async function thawRecord(body: FreezeRecordBody, asked: Asked): Promise<void> {
  const request = { type: FrameType.thaw, slot: body.slot } as const;
  let reply: Reply | undefined;
  try {
    reply = await askWatchdog(body.controlPath, request, REPLY_MS, isAtIt(body));
  } catch (error) {
    if (!(error instanceof NoReply)) throw error;
    await thawInPlaceOfGuards(body, asked);
    return;
  }
  if (reply !== undefined) {
    slotVerdict(body, reply);
    return;
  }
  // The guards are gone: either they thawed and said so in the record meanwhile, or they died with it frozen.
  const status = findRecord(body)?.status.kind;
  if (status === 'armed') await thawInPlaceOfGuards(body, asked);
  else if (status !== 'thawed') throw await endedError(body.mountpoint);
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

/** One filesystem to be thawed. */
interface ToThaw {
  /** What it is called, each to be told. */
  names: readonly string[];
  thaw: () => Promise<void>;
}

/** Thaws each, in this order, going on past failures. */
async function thawEach(filesystems: readonly ToThaw[]): Promise<ThawReport> {
  const report: ThawReport = { thawed: [], failures: [] };
  for (const { names, thaw } of filesystems) {
    try {
      await thaw();
      report.thawed.push(...names);
    } catch (error) {
      report.failures.push(error);
    }
  }
  return report;
}

/** One filesystem, by all the names that it was given; `why` fsbackup does not hold it. */
type Named = { names: readonly [string, ...string[]] } & (
  { body: FreezeRecordBody } | { body: undefined; why: unknown }
);

/**
 * Mountpoints in the order in which they can be thawed; first those that fsbackup does not hold, as they were given. All
 * names of one filesystem that it holds (a bind mount, a symlink) are together: `freeze` takes them for one, too.
 */
async function inThawOrder(mountpoints: readonly string[]): Promise<Named[]> {
  const held = new Map<string, { names: [string, ...string[]]; body: FreezeRecordBody }>();
  const others: Named[] = [];
  for (const path of mountpoints) {
    let body: FreezeRecordBody;
    try {
      body = await heldRecord(path);
    } catch (why) {
      others.push({ names: [path], body: undefined, why });
      continue;
    }
    const known = held.get(body.majorMinor);
    if (known === undefined) held.set(body.majorMinor, { names: [path], body });
    else known.names.push(path);
  }
  return [...others, ...[...held.values()].toSorted((a, b) => byThawOrder(a.body, b.body))];
}

/**
 * Thaws these, in the order that is needed; `force`: whoever froze them. What is wrong with one keeps the others from nothing:
 * `freezeLost` when it had been lost before, `notFrozen` when it is not ours (then nothing is touched), or, with `force`, not frozen.
 */
export async function thawMountpoints(
  mountpoints: readonly string[],
  { force }: { force: boolean },
): Promise<ThawReport> {
  const filesystems = await inThawOrder(mountpoints);
  const asked = new Set(filesystems.flatMap(({ body }) => body?.majorMinor ?? []));
  return await thawEach(
    filesystems.map((named) => ({
      names: named.names,
      thaw: async () => {
        if (force) await thawForcibly(named.names[0]);
        else if (named.body === undefined) throw named.why;
        else await thawRecord(named.body, asked);
      },
    })),
  );
}

/**
 * Thaws everything that fsbackup holds; what a running command holds too, which then learns that it was lost.
 * `orphaned`: only what was frozen by a command that is dead, and was not left to the watchdogs on purpose.
 */
export async function thawAll({ orphaned = false } = {}): Promise<ThawReport> {
  const bodies = heldRecords().map(({ body }) => body);
  const chosen = orphaned ? bodies.filter(({ detached, owner }) => !detached && !isAlive(owner.pid)) : bodies;
  const asked = new Set(chosen.map(({ majorMinor }) => majorMinor));
  return await thawEach(
    chosen
      .toSorted(byThawOrder)
      .map((body) => ({ names: [body.mountpoint], thaw: () => thawRecord(body, asked) })),
  );
}

/**
 * The emergency exit: a bare FITHAW, whoever froze it. Rejects with `notFrozen` when it was not frozen.
 * Blocks as long as the kernel does.
 */
async function thawForcibly(path: string): Promise<void> {
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
