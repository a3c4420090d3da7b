import { askWatchdog } from './control-client.js';
import { readRecords, type FreezeRecordBody } from './freeze-record.js';
import type { LossReason } from './freezer.js';
import { FrameType, SlotState } from './protocol.js';
import { readUntold } from './untold-losses.js';

const REPLY_MS = 500;

/** A filesystem that fsbackup holds frozen, as far as its guards say. */
export interface FrozenStatus {
  mountpoint: string;
  device: string;
  fstype: string;
  /** By which `reset` and `thaw` know it; null where a command holds it itself. */
  freezeId: string | null;
  since: string;
  timeoutSeconds: number | null;
  /** Null when its guards do not answer. */
  expiresAt: string | null;
  owner: { pid: number; command: string };
  watchdogPids: readonly number[];
  /** `dead`: all guards were killed together, so it may be frozen for ever; `recover` thaws it. */
  guards: 'alive' | 'stopped' | 'dead';
  /** `freezing`: FIFREEZE has not returned yet. `unknown`: no guard answers. */
  state: 'freezing' | 'frozen' | 'unknown';
}

/** A freeze that ended before it was asked to; told until the next of that filesystem, and then until its own `thaw` comes. */
export interface LostStatus {
  mountpoint: string;
  device: string;
  fstype: string;
  freezeId: string | null;
  reason: LossReason;
  at: string;
}

export interface FreezeStatusReport {
  frozen: FrozenStatus[];
  lost: LostStatus[];
}

/** Asks the watchdog; undefined when it says that this filesystem is not frozen (yet, or any more). */
async function describe(body: FreezeRecordBody, guarded: boolean): Promise<FrozenStatus | undefined> {
  const { mountpoint, device, fstype, since, timeoutSeconds, owner, watchdogPids } = body;
  const freezeId = body.freezeId ?? null;
  const known = { mountpoint, device, fstype, freezeId, since, timeoutSeconds, owner, watchdogPids };
  if (!guarded) return { ...known, expiresAt: null, guards: 'dead', state: 'unknown' };
  const reply = await askWatchdog(body.controlPath, { type: FrameType.status }, REPLY_MS).catch(
    () => undefined,
  );
  const slot = reply?.slots[body.slot];
  if (reply === undefined || slot === undefined)
    return { ...known, expiresAt: null, guards: 'stopped', state: 'unknown' };
  if (slot.state === SlotState.idle || slot.state === SlotState.thawed || slot.state === SlotState.failed)
    return undefined;
  const expiresAt = new Date(Date.now() + slot.deadlineMs - reply.nowMs).toISOString();
  const state = slot.state === SlotState.calling ? 'freezing' : 'frozen';
  return { ...known, expiresAt, guards: 'alive', state };
}

function lostStatus(loss: Omit<LostStatus, 'freezeId'> & { freezeId?: string }): LostStatus {
  const { mountpoint, device, fstype, freezeId = null, reason, at } = loss;
  return { mountpoint, device, fstype, freezeId, reason, at };
}

/** What fsbackup froze in this boot, from its records and guards: never by a probe, which would freeze. */
export async function readFreezeStatus(): Promise<FreezeStatusReport> {
  const report: FreezeStatusReport = { frozen: [], lost: readUntold().map(lostStatus) };
  for (const { body, status, guarded } of readRecords()) {
    if (status.kind === 'lost') report.lost.push(lostStatus({ ...body, ...status }));
    if (status.kind !== 'armed') continue;
    const frozen = await describe(body, guarded);
    if (frozen !== undefined) report.frozen.push(frozen);
  }
  return report;
}
