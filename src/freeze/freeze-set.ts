import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, type FsbackupError } from '../errors.js';
import { probeSlot, readPage, thawInBackground, thawSlot, type PageHandle } from '../system/native.js';
import type { DeviceWatch } from './device-watch.js';
import { stillFrozenError } from './freeze-errors.js';
import { readStatus, writeStatus } from './freeze-record.js';
import type { DeviceLossReason, FreezeOutcome, FreezeTarget, LossReason, ThawOutcome } from './freezer.js';
import { lossNumber, lossReason, SlotState } from './protocol.js';
import { within } from './within.js';

/** One filesystem of a set, its descriptors open. */
export interface FreezerSlot {
  target: FreezeTarget;
  mountpointFd: number;
  recordFd: number;
}

/** How often we try again what no guard has ended. */
export const RETRY_MS = 50;
/** How long we go on when nobody, neither guard nor we, gets it thawed. */
const LIMIT_MS = 30_000;

/** Nothing of the slot is or can become frozen. */
const ENDED: ReadonlySet<number> = new Set([SlotState.thawed, SlotState.failed]);

/** Where there may be nothing to thaw. */
async function fithawAgain(fd: number): Promise<void> {
  try {
    await thawInBackground(fd);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
  }
}

/** What is frozen together: what the shared page says of it, and its thaw where no guard is left to do that. */
export class FreezeSet {
  readonly slots: readonly FreezerSlot[];
  readonly watch: DeviceWatch | undefined;
  readonly page: PageHandle;

  /** `watch`: on the devices below; undefined where there are none. */
  constructor(slots: readonly FreezerSlot[], watch: DeviceWatch | undefined, page: PageHandle) {
    this.slots = slots;
    this.watch = watch;
    this.page = page;
  }

  /** As `probeSlot`, of one of its slots. */
  async probe(index: number): Promise<boolean> {
    return await probeSlot(this.page, index, this.slots[index]?.mountpointFd ?? -1);
  }

  /** Whether a FIFREEZE has not returned yet. */
  get isInFlight(): boolean {
    return readPage(this.page).some(({ state }) => state === SlotState.calling);
  }

  /** Whether one is frozen, and nobody is at its thaw. */
  get isHeld(): boolean {
    return readPage(this.page).some(({ state }) => state === SlotState.held);
  }

  /** When the first FIFREEZE was called, in ms of CLOCK_BOOTTIME; undefined before that. */
  get firstCallMs(): number | undefined {
    const calls = readPage(this.page).flatMap(({ callMs }) => (callMs === 0 ? [] : [callMs]));
    return calls.length === 0 ? undefined : Math.min(...calls);
  }

  /** Whether nothing of it is frozen or suspended any more. */
  get hasEnded(): boolean {
    return readPage(this.page).every(({ state }) => ENDED.has(state)) && this.watch?.settled !== false;
  }

  /** Why it was lost; undefined: it was not. */
  get loss(): DeviceLossReason | undefined {
    return (
      readPage(this.page)
        .map((slot) => lossReason(slot.loss))
        .find((reason) => reason !== undefined) ?? this.watch?.loss
    );
  }

  /** The next one, in ms of CLOCK_BOOTTIME; undefined where nothing is held any more. */
  get deadlineMs(): number | undefined {
    const deadlines = readPage(this.page)
      // Those in the middle of a probe or a thaw too: a guard may be stopped just there.
      .filter(({ state }) => !ENDED.has(state))
      .map((slot) => slot.deadlineMs)
      // FIFREEZE has not been called yet.
      .filter((deadlineMs) => deadlineMs !== 0)
      .concat(this.watch?.deadlineMs ?? []);
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }

  /**
   * Thaws without the guards, beside whoever of them is left, and notes what was lost. Idempotent. Rejects, after half a
   * minute, where something stays frozen or suspended.
   */
  async thawByOurselves(loss: LossReason | undefined): Promise<void> {
    const giveUpAt = performance.now() + LIMIT_MS;
    while (!(await this.#tryToEnd(loss, giveUpAt - performance.now()))) {
      if (performance.now() > giveUpAt) throw this.#thawError();
      await sleep(RETRY_MS);
    }
    const at = new Date().toISOString();
    for (const [index, slot] of readPage(this.page).entries()) {
      const reason = lossReason(slot.loss);
      const record = this.slots[index]?.recordFd;
      if (reason !== undefined && slot.callMs !== 0 && record !== undefined)
        writeStatus(record, { kind: 'lost', reason, at });
    }
  }

  /** One try of ours to end everything; whether that succeeded. */
  async #tryToEnd(loss: LossReason | undefined, limitMs: number): Promise<boolean> {
    const number = loss === undefined ? 0 : lossNumber(loss);
    // The last is the lowest: thawing a filesystem waits for those below it.
    const slots = [...this.slots.entries()].toReversed();
    // Side by side: FITHAW waits for a device that is suspended, or for a FIFREEZE in flight, and a program for what is frozen.
    const ended = Promise.all([
      this.watch?.settle(loss) ?? true,
      ...slots.map(([index, slot]) => thawSlot(this.page, index, slot.mountpointFd, number)),
    ]);
    return await within(
      limitMs,
      ended.then((all) => all.every(Boolean)),
    );
  }

  #thawError(): FsbackupError {
    // Below what is frozen: that has to be mended first.
    if (this.watch?.settled === false) return this.watch.stuckError();
    const frozen = readPage(this.page).flatMap(({ state }, index) =>
      ENDED.has(state) ? [] : (this.slots[index]?.target.mountpoint ?? []),
    );
    return stillFrozenError(frozen);
  }

  /** Thaws what a probe froze after the end of its slot. Only when both guards are dead: else the second does it. */
  async undoProbes(): Promise<void> {
    await Promise.all(
      readPage(this.page).map(async ({ probing }, index) => {
        const slot = this.slots[index];
        if (probing !== 0 && slot !== undefined) await fithawAgain(slot.mountpointFd);
      }),
    );
  }

  /** What became of each, once it has ended. */
  async outcomes(): Promise<ThawOutcome> {
    await this.watch?.measured();
    return { filesystems: this.#filesystemOutcomes(), devices: this.watch?.outcomes() ?? [] };
  }

  #filesystemOutcomes(): FreezeOutcome[] {
    const page = readPage(this.page);
    return this.slots.flatMap(({ target }, index) => {
      const slot = page[index];
      if (slot === undefined || slot.heldMs === 0 || slot.state === SlotState.failed) return [];
      return [
        {
          target,
          lost: lossReason(slot.loss),
          frozenMs: Math.max(0, slot.thawedMs - slot.callMs),
          freezeCallMs: slot.heldMs - slot.callMs,
          thawMs: Math.max(0, slot.thawedMs - slot.thawBeginMs),
        },
      ];
    });
  }

  /** Notes what has ended and was never lost. What may still be frozen stays on record. */
  recordEnded(): void {
    for (const [index, { state }] of readPage(this.page).entries()) {
      const recordFd = this.slots[index]?.recordFd;
      if (recordFd === undefined || (!ENDED.has(state) && state !== SlotState.idle)) continue;
      if (readStatus(recordFd)?.kind === 'armed') writeStatus(recordFd, { kind: 'thawed' });
    }
  }

  /** Closes the descriptors, with which the records' locks go too. Once. */
  close(): void {
    for (const slot of this.slots) {
      closeSync(slot.mountpointFd);
      closeSync(slot.recordFd);
    }
    this.watch?.close();
  }
}
