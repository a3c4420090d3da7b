import { errnoOf, FsbackupError } from '../errors.js';
import type { CommandWatch } from '../system/run-command.js';
import { boottimeMs, freezeSlot, readPage } from '../system/native.js';
import { freezeError, thawedMeanwhile } from './freeze-errors.js';
import { writeStatus } from './freeze-record.js';
import { NO_LIMIT_MS } from './frame-connection.js';
import { RETRY_MS, type FreezeSet } from './freeze-set.js';
import type { Freezer, FreezeOptions, FreezeTarget, LossReason, ThawOutcome } from './freezer.js';
import { FrameType, lossReason, warningTexts, type Reply } from './protocol.js';
import type { Watchdog } from './watchdog-process.js';
import { within } from './within.js';

/** How long the watchdog has for a thaw before we call FITHAW beside it: less than a millisecond, unless it waits for a disk. */
const THAW_REPLY_MS = 500;
/** How late the watchdogs may be before we act on the deadline ourselves. */
const OWN_GRACE_MS = 50;
const REPLY_MS = 2000;

/** The freezer over a page that two guards watch. Made by `armFreezer`. */
export class GuardedFreezer implements Freezer {
  readonly watchdogPids: readonly number[];

  readonly #set: FreezeSet;
  readonly #options: FreezeOptions;
  readonly #watchdog: Watchdog;
  readonly #warnings: string[];
  readonly #lost = new AbortController();
  #heartbeat: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #thawing: Promise<ThawOutcome> | undefined;
  /** FIFREEZE of one after the other is under way. */
  #isFreezing = false;
  #ended = false;

  constructor(set: FreezeSet, options: FreezeOptions, watchdog: Watchdog) {
    this.#set = set;
    this.#options = options;
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
      this.#set.watch?.open();
    } catch (error) {
      await this.thaw();
      throw thawedMeanwhile(error);
    }
    this.#isFreezing = true;
    // What is frozen already is not to wait for a FIFREEZE that does not return.
    this.#watchDeadline();
    for (const [index, slot] of this.#set.slots.entries()) {
      try {
        await freezeSlot(this.#set.page, index, slot.mountpointFd);
      } catch (error) {
        await this.thaw();
        throw this.#freezeError(index, slot.target, error);
      }
    }
    this.#isFreezing = false;
    // Thawed while the last FIFREEZE was still in flight: there is nothing to keep alive.
    if (this.#thawing !== undefined) {
      await this.#thawing.catch(() => undefined);
      // That thaw may have lost patience before FIFREEZE returned.
      if (!this.#set.hasEnded) await this.#set.thawByOurselves(undefined);
      throw thawedMeanwhile();
    }
    // While others were being frozen: nobody is to begin what would be in vain.
    if (this.#set.loss !== undefined) {
      await this.thaw();
      throw thawedMeanwhile();
    }
    const { timeoutMs } = this.#options;
    // The 2008 series resets a timeout of N seconds every N/2.
    if (timeoutMs !== null) this.#keepAlive(timeoutMs / 2);
  }

  async probe(): Promise<void> {
    for (const [index, { target, recordFd }] of this.#set.slots.entries()) {
      try {
        // In the page it is held then: the watchdog thaws it, or says that it cannot.
        if (!(await this.#set.probe(index))) await this.thaw();
      } catch (error) {
        if (errnoOf(error) === 'EOPNOTSUPP') continue;
        // Where a thaw failed, this is the same, and rejects as it did.
        await this.thaw();
        throw this.#freezeError(index, target, error);
      }
      // Thawed by a guard, its time being over, or by a third party.
      if (lossReason(readPage(this.#set.page)[index]?.loss ?? 0) !== undefined) throw thawedMeanwhile();
      // No guard saw it end: whoever comes after our death is not to take it for frozen.
      writeStatus(recordFd, { kind: 'thawed' });
    }
  }

  watchCommand(): CommandWatch {
    return this.#set.watch?.watchCommand() ?? { started: () => undefined, ended: () => undefined };
  }

  thaw(): Promise<ThawOutcome> {
    this.#thawing ??= this.#thawOnce();
    return this.#thawing;
  }

  /**
   * Hands the freeze over: from here on the watchdog owns it and answers at its control socket. Resolves to how long it
   * will hold all of it, unless it is reset. Rejects with `freezeLost` when some of it was lost meanwhile, after a thaw of all.
   */
  async detach(): Promise<{ expiresInMs: number }> {
    this.#stopTimers();
    let reply: Reply;
    try {
      reply = await this.#watchdog.connection.request({ type: FrameType.detach }, REPLY_MS);
      if (reply.error !== 0) throw new Error(`errno ${reply.error}`);
    } catch (error) {
      const { loss } = this.#set;
      await this.close();
      if (loss !== undefined) throw thawedMeanwhile(error);
      throw new FsbackupError('freezeLost', 'the watchdog did not take the freeze over, so it was thawed', {
        hint: 'Run the command again; if it happens again, something on this host kills or stops our watchdog.',
        cause: error,
      });
    }
    this.#ended = true;
    this.#watchdog.release();
    this.#set.close();
    const deadlinesMs = reply.slots.map(({ deadlineMs }) => deadlineMs);
    return { expiresInMs: Math.min(...deadlinesMs) - reply.nowMs };
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    let isThawed = false;
    try {
      await this.thaw();
      isThawed = true;
    } finally {
      this.#ended = true;
      await this.#watchdog.quit();
      // What may be frozen or suspended, or a killed program may still suspend, stays guarded by guards that end by themselves.
      if (!isThawed || this.#set.watch?.over === false) this.#watchdog.release();
      else {
        await this.#watchdog.end();
        await this.#set.undoProbes();
      }
      this.#set.recordEnded();
      this.#set.close();
    }
  }

  #freezeError(index: number, target: FreezeTarget, error: unknown): FsbackupError {
    return freezeError(target, error, readPage(this.#set.page)[index] ?? { endedAnothers: 0 });
  }

  #stopTimers(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#deadline);
  }

  /** The deadline counts from the first FIFREEZE on: one that was slow, or several, have used up a part of the first half. */
  #keepAlive(everyMs: number): void {
    const { firstCallMs = boottimeMs() } = this.#set;
    this.#heartbeat = setTimeout(
      () => {
        void this.#beat();
        this.#heartbeat = setInterval(() => void this.#beat(), everyMs);
      },
      Math.max(0, firstCallMs + everyMs - boottimeMs()),
    );
  }

  /** Both guards may be stopped: then we are the third that keeps the deadline. */
  #watchDeadline(): void {
    const { deadlineMs } = this.#set;
    if (deadlineMs === undefined && !this.#isFreezing) return;
    // It is published by the thread that calls FIFREEZE, a moment from now.
    const dueMs = (deadlineMs ?? boottimeMs()) + OWN_GRACE_MS - boottimeMs();
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
    const { loss } = this.#set;
    if (loss === undefined || this.#lost.signal.aborted) return;
    this.#stopTimers();
    this.#lost.abort(loss);
  }

  /** No guard answers for the freeze any more: we thaw, and so does whoever of them is left. */
  #guardDied(reason: LossReason): void {
    if (this.#thawing !== undefined) return;
    this.#stopTimers();
    this.#thawing = this.#set.thawByOurselves(reason).then(() => this.#set.outcomes());
    // Whoever calls `thaw` gets the rejection; until then nobody listens.
    this.#thawing.catch(() => undefined);
    this.#noticeLoss();
    if (!this.#lost.signal.aborted) this.#lost.abort(reason);
  }

  async #thawOnce(): Promise<ThawOutcome> {
    this.#stopTimers();
    // It may wait for a FIFREEZE in flight, which may wait for another's frozen filesystem below: without end.
    const reply = this.#watchdog.connection.request({ type: FrameType.thaw }, NO_LIMIT_MS);
    const answered = reply.then(
      () => true,
      () => false,
    );
    let thawed = await within(THAW_REPLY_MS, answered);
    // Nothing can thaw a filesystem whose FIFREEZE is still in flight: only then is patience in order, and while a guard thaws the others.
    const isInFlight = (): boolean =>
      !this.#watchdog.connection.closed && this.#set.isInFlight && !this.#set.isHeld;
    while (!thawed && isInFlight()) {
      thawed = await within(RETRY_MS, answered);
      if (!thawed && !isInFlight()) thawed = await within(THAW_REPLY_MS, answered);
    }
    if (!this.#set.hasEnded) await this.#set.thawByOurselves(undefined);
    this.#noticeLoss();
    return await this.#set.outcomes();
  }
}
