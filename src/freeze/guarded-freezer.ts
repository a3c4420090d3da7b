import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, FsbackupError } from '../errors.js';
import type { CommandWatch } from '../system/run-command.js';
import {
  boottimeMs,
  freezeSlot,
  probeSlot,
  readPage,
  thawSlot,
  thawSlotInBackground,
  type PageHandle,
} from '../system/native.js';
import type { DeviceWatch } from './device-watch.js';
import { freezeError, stillFrozenError, thawedMeanwhile } from './freeze-errors.js';
import { readStatus, writeStatus } from './freeze-record.js';
import type {
  Freezer,
  FreezeOptions,
  FreezeOutcome,
  FreezeTarget,
  LossReason,
  ThawOutcome,
} from './freezer.js';
import { FrameType, lossNumber, lossReason, SlotState, warningTexts } from './protocol.js';
import type { Watchdog } from './watchdog-process.js';
import { within } from './within.js';

/** One filesystem of a set, its descriptors open. */
export interface FreezerSlot {
  target: FreezeTarget;
  mountpointFd: number;
  recordFd: number;
}

/** How long the watchdog has for a thaw before it is taken for dead. FITHAW itself takes less than a millisecond. */
const THAW_REPLY_MS = 500;
const FALLBACK_RETRY_MS = 50;
/** How late the watchdogs may be before we act on the deadline ourselves. */
const OWN_GRACE_MS = 50;
/** How long we go on when nobody, neither guard nor we, gets it thawed. */
const FALLBACK_LIMIT_MS = 30_000;
const REPLY_MS = 2000;
/** A thaw may wait for a FIFREEZE in flight, which may wait for another's frozen filesystem below: without end. */
const THAW_LIMIT_MS = 2 ** 31 - 1;

/** Nothing of the slot is or can become frozen. */
const ENDED: ReadonlySet<number> = new Set([SlotState.thawed, SlotState.failed]);

/** The freezer over a page that two guards watch. Made by `armFreezer`. */
export class GuardedFreezer implements Freezer {
  readonly watchdogPids: readonly number[];

  readonly #slots: readonly FreezerSlot[];
  readonly #watch: DeviceWatch | undefined;
  readonly #options: FreezeOptions;
  readonly #page: PageHandle;
  readonly #watchdog: Watchdog;
  readonly #warnings: string[];
  readonly #lost = new AbortController();
  #heartbeat: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #thawing: Promise<ThawOutcome> | undefined;
  #ended = false;

  constructor(
    slots: readonly FreezerSlot[],
    watch: DeviceWatch | undefined,
    options: FreezeOptions,
    page: PageHandle,
    watchdog: Watchdog,
  ) {
    this.#slots = slots;
    this.#watch = watch;
    this.#options = options;
    this.#page = page;
    this.#watchdog = watchdog;
    this.#warnings = [...watchdog.warnings];
    this.watchdogPids = watchdog.pids;
    watchdog.connection.onEvent = (event) => {
      for (const text of warningTexts(event.warnings)) {
        if (!this.#warnings.includes(text)) this.#warnings.push(text);
      }
      this.#noticeLoss();
    };
    watchdog.connection.onClose = () => {
      if (!this.#ended) this.#guardDied('guard-died');
    };
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async freeze(): Promise<void> {
    try {
      this.#watch?.open();
    } catch (error) {
      await this.thaw();
      throw thawedMeanwhile(error);
    }
    for (const [index, slot] of this.#slots.entries()) {
      try {
        await freezeSlot(this.#page, index, slot.mountpointFd);
      } catch (error) {
        await this.thaw();
        throw freezeError(slot.target, error);
      }
    }
    // Thawed while the last FIFREEZE was still in flight: there is nothing to keep alive.
    if (this.#thawing !== undefined) {
      await this.#thawing.catch(() => undefined);
      // That thaw may have lost patience before FIFREEZE returned.
      if (!this.#allEnded()) await this.#thawWithoutWatchdog(undefined);
      throw thawedMeanwhile();
    }
    this.#watchDeadline();
    const { timeoutMs } = this.#options;
    // The 2008 series resets a timeout of N seconds every N/2.
    if (timeoutMs !== null) this.#heartbeat = setInterval(() => void this.#beat(), timeoutMs / 2);
  }

  async probe(): Promise<void> {
    for (const [index, { target, mountpointFd, recordFd }] of this.#slots.entries()) {
      try {
        // In the page it is held then: the watchdog thaws it, or says that it cannot.
        if (!(await probeSlot(this.#page, index, mountpointFd))) await this.thaw();
      } catch (error) {
        if (error instanceof FsbackupError) throw error;
        if (errnoOf(error) === 'EOPNOTSUPP') continue;
        await this.thaw();
        throw freezeError(target, error);
      }
      // Thawed by a guard, its time being over, or by a third party.
      if (lossReason(readPage(this.#page)[index]?.loss ?? 0) !== undefined) throw thawedMeanwhile();
      // No guard saw it end: whoever comes after our death is not to take it for frozen.
      writeStatus(recordFd, { kind: 'thawed' });
    }
  }

  watchCommand(): CommandWatch {
    return this.#watch?.watchCommand() ?? { started: () => undefined, ended: () => undefined };
  }

  thaw(): Promise<ThawOutcome> {
    this.#thawing ??= this.#thawOnce();
    return this.#thawing;
  }

  /**
   * Hands the freeze over: from here on the watchdog owns it and answers at its control socket. Rejects with
   * `freezeLost` when it was lost meanwhile, after a thaw of all.
   */
  async detach(): Promise<void> {
    this.#stopTimers();
    try {
      const reply = await this.#watchdog.connection.request({ type: FrameType.detach }, REPLY_MS);
      if (reply.error !== 0) throw new Error(`errno ${reply.error}`);
    } catch (error) {
      await this.close();
      throw new FsbackupError('freezeLost', 'the watchdog did not take the freeze over, so it was thawed', {
        hint: 'Run the command again; if it happens again, something on this host kills or stops our watchdog.',
        cause: error,
      });
    }
    this.#ended = true;
    this.#watchdog.release();
    this.#closeDescriptors();
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    try {
      await this.thaw();
    } finally {
      this.#ended = true;
      // No answer: it is gone, or stopped and killed below; nothing is frozen either way.
      await this.#watchdog.connection.request({ type: FrameType.quit }, REPLY_MS).catch(() => undefined);
      // What is suspended, or a killed program may still suspend, stays guarded by guards that end by themselves.
      if (this.#watch?.over === false) this.#watchdog.release();
      else await this.#watchdog.end();
      for (const [index, { state }] of readPage(this.#page).entries()) {
        const recordFd = this.#slots[index]?.recordFd;
        // What may still be frozen stays on record.
        if (recordFd === undefined || (!ENDED.has(state) && state !== SlotState.idle)) continue;
        if (readStatus(recordFd)?.kind === 'armed') writeStatus(recordFd, { kind: 'thawed' });
      }
      this.#closeDescriptors();
    }
  }

  #closeDescriptors(): void {
    for (const slot of this.#slots) {
      closeSync(slot.mountpointFd);
      closeSync(slot.recordFd);
    }
    this.#watch?.close();
  }

  #stopTimers(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#deadline);
  }

  /** Both guards may be stopped: then we are the third that keeps the deadline. */
  #watchDeadline(): void {
    const deadlines = readPage(this.#page)
      // Those in the middle of a probe or a thaw too: a guard may be stopped just there.
      .filter(({ state }) => !ENDED.has(state))
      .map((slot) => slot.deadlineMs)
      .concat(this.#watch?.deadlineMs ?? []);
    if (deadlines.length === 0) return;
    const dueMs = Math.min(...deadlines) + OWN_GRACE_MS - boottimeMs();
    if (dueMs <= 0) this.#guardDied('timeout');
    else this.#deadline = setTimeout(() => this.#watchDeadline(), dueMs);
  }

  async #beat(): Promise<void> {
    const { connection } = this.#watchdog;
    // Without an answer the deadline stands, and the page tells below whether it has passed.
    await connection
      .request({ type: FrameType.reset, timeoutMs: this.#options.timeoutMs ?? 0 }, REPLY_MS)
      .catch(() => undefined);
    this.#noticeLoss();
  }

  #noticeLoss(): void {
    const loss =
      readPage(this.#page)
        .map((slot) => lossReason(slot.loss))
        .find((reason) => reason !== undefined) ?? this.#watch?.loss;
    if (loss === undefined || this.#lost.signal.aborted) return;
    this.#stopTimers();
    this.#lost.abort(loss);
  }

  /** No guard answers for the freeze any more: we thaw, and so does whoever of them is left. */
  #guardDied(reason: LossReason): void {
    if (this.#thawing !== undefined) return;
    this.#stopTimers();
    this.#thawing = this.#thawWithoutWatchdog(reason).then(() => this.#outcomes());
    // Whoever calls `thaw` gets the rejection; until then nobody listens.
    this.#thawing.catch(() => undefined);
    this.#noticeLoss();
    if (!this.#lost.signal.aborted) this.#lost.abort(reason);
  }

  async #thawOnce(): Promise<ThawOutcome> {
    this.#stopTimers();
    const reply = this.#watchdog.connection.request({ type: FrameType.thaw }, THAW_LIMIT_MS);
    const answered = reply.then(
      () => true,
      () => false,
    );
    let thawed = await within(THAW_REPLY_MS, answered);
    // Nothing can thaw a filesystem whose FIFREEZE is still in flight: only then is patience in order.
    while (!thawed && this.#inFlight()) {
      thawed = await within(FALLBACK_RETRY_MS, answered);
      if (!thawed && !this.#inFlight()) thawed = await within(THAW_REPLY_MS, answered);
    }
    if (!this.#allEnded()) await this.#thawWithoutWatchdog(undefined);
    this.#noticeLoss();
    return this.#outcomes();
  }

  #inFlight(): boolean {
    return (
      !this.#watchdog.connection.closed &&
      readPage(this.#page).some((slot) => slot.state === SlotState.calling)
    );
  }

  #allEnded(): boolean {
    return readPage(this.#page).every(({ state }) => ENDED.has(state)) && this.#watch?.settled !== false;
  }

  /** One try of ours to end everything; whether that succeeded. */
  async #tryToEnd(loss: LossReason | undefined, limitMs: number): Promise<boolean> {
    const number = loss === undefined ? 0 : lossNumber(loss);
    // The last is the lowest: thawing a filesystem waits for those below it.
    const slots = [...this.#slots.entries()].toReversed();
    if (this.#watch === undefined) {
      return slots
        .map(([index, slot]) => thawSlot(this.#page, index, slot.mountpointFd, number))
        .every(Boolean);
    }
    // Side by side: FITHAW waits for a device that is suspended, and a program may wait for what is frozen.
    const ended = Promise.all([
      this.#watch.settle(loss),
      ...slots.map(([index, slot]) => thawSlotInBackground(this.#page, index, slot.mountpointFd, number)),
    ]);
    return await within(
      limitMs,
      ended.then((all) => all.every(Boolean)),
    );
  }

  async #thawWithoutWatchdog(loss: LossReason | undefined): Promise<void> {
    const giveUpAt = performance.now() + FALLBACK_LIMIT_MS;
    while (!(await this.#tryToEnd(loss, giveUpAt - performance.now()))) {
      if (performance.now() > giveUpAt) throw this.#thawError();
      await sleep(FALLBACK_RETRY_MS);
    }
    const at = new Date().toISOString();
    for (const [index, slot] of readPage(this.#page).entries()) {
      const reason = lossReason(slot.loss);
      const record = this.#slots[index]?.recordFd;
      if (reason !== undefined && slot.callMs !== 0 && record !== undefined)
        writeStatus(record, { kind: 'lost', reason, at });
    }
  }

  #thawError(): FsbackupError {
    // Below what is frozen: that has to be mended first.
    if (this.#watch?.settled === false) return this.#watch.stuckError();
    const frozen = readPage(this.#page).flatMap(({ state }, index) =>
      ENDED.has(state) ? [] : (this.#slots[index]?.target.mountpoint ?? []),
    );
    return stillFrozenError(frozen);
  }

  async #outcomes(): Promise<ThawOutcome> {
    await this.#watch?.measured();
    return { filesystems: this.#filesystemOutcomes(), devices: this.#watch?.outcomes() ?? [] };
  }

  #filesystemOutcomes(): FreezeOutcome[] {
    const page = readPage(this.#page);
    return this.#slots.flatMap(({ target }, index) => {
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
}
