import { closeSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { isGuard } from './kill-guards.js';
import { DEADLINE_AT, lossReason, PAGE_FD, SLOT_SIZE, SLOTS_AT, SlotState } from './protocol.js';

/** What the guards' page says of one slot. */
export interface GuardedSlot {
  state: number;
  loss: number;
  /** In ms of CLOCK_BOOTTIME. */
  deadlineMs: number;
}

const LITTLE = endianness() === 'LE';
const NS_PER_MS = 1e6;

/** Read in the memory of whichever guard lives, stopped or not; undefined where none does. */
export function readGuardsPage(pids: readonly number[], slot: number): GuardedSlot | undefined {
  const buffer = Buffer.alloc(SLOT_SIZE);
  for (const pid of pids.filter(isGuard)) {
    let fd: number;
    try {
      fd = openSync(`/proc/${pid}/fd/${PAGE_FD}`, 'r');
    } catch {
      // It has ended meanwhile, or is not to be looked into (a hidepid, a policy).
      continue;
    }
    try {
      if (readSync(fd, buffer, 0, SLOT_SIZE, SLOTS_AT + slot * SLOT_SIZE) !== SLOT_SIZE) continue;
    } finally {
      closeSync(fd);
    }
    const [state = 0, loss = 0] = [0, 4].map((at) =>
      LITTLE ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at),
    );
    const deadline = LITTLE ? buffer.readBigUInt64LE(DEADLINE_AT) : buffer.readBigUInt64BE(DEADLINE_AT);
    return { state, loss, deadlineMs: Number(deadline) / NS_PER_MS };
  }
  return undefined;
}

/**
 * Whether a FITHAW of ours, which had success, may have undone the freeze of a probe, the one that was to be held being lost by
 * then: a watchdog that stopped in the middle of it has not said what it found. `before` and `after` that FITHAW.
 */
export function mayHaveBeenLost(before: GuardedSlot | undefined, after: GuardedSlot | undefined): boolean {
  if (before !== undefined && lossReason(before.loss) !== undefined) return true;
  // Claimed for a thaw, it was held until then: what a guard found after our thaw is that.
  if (after === undefined || before?.state === SlotState.thawing) return false;
  return after.state === SlotState.probing || lossReason(after.loss) === 'third-party';
}
