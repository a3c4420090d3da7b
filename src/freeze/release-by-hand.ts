import { closeSync } from 'node:fs';
import { errnoOf, FsbackupError } from '../errors.js';
import { thawInBackground } from '../system/native.js';
import { isAlive } from '../system/process-identity.js';
import { askWatchdog } from './control-client.js';
import { NoReply } from './frame-connection.js';
import { doubtfulError, findHeld, noteTold, type Held, type Meant } from './find-held.js';
import {
  adoptRecord,
  findRecord,
  readRecords,
  type FreezeRecord,
  type FreezeRecordBody,
} from './freeze-record.js';
import { isGuard, isStopped } from './kill-guards.js';
import { openMount } from './mountpoint.js';
import { FrameType, SlotState, type Reply } from './protocol.js';
import { lostError, slotVerdict } from './slot-verdict.js';
import { byThawOrder } from './thaw-order.js';
import { thawWithoutGuards, type Asked } from './thaw-without-guards.js';
import { suggested } from '../system/command-line.js';

const REPLY_MS = 1000;
/** How long a watchdog that works may take for a thaw before we do it ourselves. */
const PATIENCE_MS = 30_000;

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
 * was lost, or may be the one that was, with `notFrozen` when it is not ours, or not frozen yet.
 */
export async function resetByHand(
  meant: Meant,
  timeoutMs: number | undefined,
): Promise<{ expiresInMs: number }> {
  const { body, doubt } = await findHeld(meant);
  if (!body.detached) throw ownedByCommand(body);
  if (doubt !== undefined) throw doubtfulError(meant.path, doubt);
  const reply = await askWatchdog(
    body.controlPath,
    { type: FrameType.reset, slot: body.slot, timeoutMs: timeoutMs ?? (body.timeoutSeconds ?? 0) * 1000 },
    REPLY_MS,
  ).catch(async (error: unknown) => {
    throw error instanceof NoReply ? await unansweredError(body, error) : error;
  });
  // The guards ended between our look and our question: the record tells how.
  if (reply === undefined) return await tellEnd(meant);
  slotVerdict(body, reply);
  return { expiresInMs: (reply.slots[body.slot]?.deadlineMs ?? 0) - reply.nowMs };
}

/** Rejects with what became of one whose guards are gone. */
async function tellEnd(meant: Meant): Promise<never> {
  await findHeld(meant);
  throw lostError(meant.path, 'guard-died');
}

let takenOver: Promise<unknown> = Promise.resolve();

/** By ourselves, where no guard does it; all that it held, so one after the other. */
async function thawInPlaceOfGuards(body: FreezeRecordBody, asked: Asked): Promise<void> {
  const taking = takenOver.then(async () => await thawWithoutGuards(body, asked));
  takenOver = taking.catch(() => undefined);
  const lost = await taking;
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
  // We ourselves may have ended them for another: what they wrote last is put right once that is done.
  await takenOver;
  // The guards are gone: either they thawed and said so in the record meanwhile, or they died with it frozen.
  const status = findRecord(body)?.status.kind;
  if (status === 'armed') await thawInPlaceOfGuards(body, asked);
  else if (status !== 'thawed') await tellEnd({ path: body.mountpoint, freezeId: body.freezeId });
}

/**
 * Ends a freeze that fsbackup made and left in the care of its watchdogs. Rejects with `freezeLost` when it had been
 * lost before, or may be the one that was, with `notFrozen` when it is not ours: then nothing is touched.
 */
async function thawByHand(meant: Meant, named: Named, asked: Asked): Promise<void> {
  try {
    if (named.held === undefined) throw named.why;
    const { body, doubt } = named.held;
    await thawRecord(body, asked);
    if (doubt !== undefined) throw doubtfulError(meant.path, doubt);
  } catch (error) {
    if (error instanceof FsbackupError && error.code === 'freezeLost') await noteTold(meant);
    throw error;
  }
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

/** Thaws each, side by side: one may wait in the kernel for another. Goes on past failures. */
async function thawEach(filesystems: readonly ToThaw[]): Promise<ThawReport> {
  const results = await Promise.allSettled(filesystems.map(async ({ thaw }) => await thaw()));
  return {
    thawed: filesystems.flatMap(({ names }, index) => (results[index]?.status === 'fulfilled' ? names : [])),
    failures: results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : [])),
  };
}

/** One filesystem, by all the names that it was given; `why` fsbackup does not hold it. */
type Named = { names: readonly [string, ...string[]] } & ({ held: Held } | { held: undefined; why: unknown });

/**
 * Mountpoints in the order in which they can be thawed; first those that fsbackup does not hold, as they were given. All
 * names of one filesystem that it holds (a bind mount, a symlink) are together: `freeze` takes them for one, too.
 */
async function inThawOrder(mountpoints: readonly string[], freezeId: string | undefined): Promise<Named[]> {
  const known = new Map<string, { names: [string, ...string[]]; held: Held }>();
  const others: Named[] = [];
  for (const path of mountpoints) {
    let held: Held;
    try {
      held = await findHeld({ path, freezeId });
    } catch (why) {
      others.push({ names: [path], held: undefined, why });
      continue;
    }
    const same = known.get(held.body.majorMinor);
    if (same === undefined) known.set(held.body.majorMinor, { names: [path], held });
    else same.names.push(path);
  }
  return [...others, ...[...known.values()].toSorted((a, b) => byThawOrder(a.held.body, b.held.body))];
}

/**
 * Thaws these, in the order that is needed; `force`: whoever froze them; `freezeId`: what was frozen by that freeze alone. What is
 * wrong with one, as `thawByHand` and `thawForcibly` say it, keeps the others from nothing.
 */
export async function thawMountpoints(
  mountpoints: readonly string[],
  { force, freezeId }: { force: boolean; freezeId?: string | undefined },
): Promise<ThawReport> {
  const filesystems = await inThawOrder(mountpoints, freezeId);
  const asked = new Set(filesystems.flatMap(({ held }) => held?.body.majorMinor ?? []));
  return await thawEach(
    filesystems.map((named) => ({
      names: named.names,
      thaw: async () => {
        if (force) await thawForcibly(named.names[0]);
        else await thawByHand({ path: named.names[0], freezeId }, named, asked);
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

/** What nobody guarded any more is not frozen by us any more: who freezes it next is not to be thawed by `recover`. */
async function noteForced(mount: Pick<FreezeRecordBody, 'majorMinor' | 'fstype'>): Promise<void> {
  const record = findRecord(mount);
  if (record?.status.kind !== 'armed') return;
  await adoptRecord(mount.majorMinor, ({ status }, setStatus) => {
    if (status.kind === 'armed')
      setStatus({ kind: 'lost', reason: 'third-party', at: new Date().toISOString() });
    return Promise.resolve();
  });
}

/**
 * The emergency exit: a bare FITHAW, whoever froze it. Rejects with `notFrozen` when it was not frozen.
 * Blocks as long as the kernel does.
 */
async function thawForcibly(path: string): Promise<void> {
  const { fd, mount } = await openMount(path);
  try {
    await thawInBackground(fd);
    await noteForced(mount);
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
