import type { DeviceOutcome, FreezeOutcome } from '../freeze/freezer.js';
import type { InstantCandidate } from '../plan/instants.js';
import type { PlannedSource } from '../plan/plan.js';
import { consistencyOf } from '../plan/resolve-mode.js';
import type { SourceReport } from '../report/run-report.js';
import type { Consistency } from '../snapshots/provider.js';
import type { WallSpan } from './timeline.js';

/** What its window did to one source. */
export interface Stall {
  /** When its filesystem was frozen by us, to the end. */
  frozen: FreezeOutcome | undefined;
  /** Of the uppermost device-mapper device below it, when the dead-man watched that. */
  suspended: DeviceOutcome | undefined;
}

/** What becomes of one planned source while the run goes on. */
export class SourceRecord {
  readonly #source: PlannedSource;
  #attempts = 0;
  #wasBegun = false;
  #snapshot: string | null = null;
  #window: number | null = null;
  #span: (WallSpan & { durationMs: number }) | undefined;
  #stall: Stall | undefined;
  #restIsDoubtful = false;

  constructor(source: PlannedSource) {
    this.#source = source;
  }

  /** Another try begins: what the one before did to its writers is told by then. */
  tried(attempt: number): void {
    this.#attempts = attempt;
    this.#stall = undefined;
  }

  begun(): void {
    this.#wasBegun = true;
  }

  /** Whether a snapshot of it was begun: one may have been made. */
  get wasBegun(): boolean {
    return this.#wasBegun;
  }

  /** Its window was thawed, whatever became of its snapshot. */
  stalled(stall: Stall): void {
    this.#stall = stall;
  }

  /** The snapshot is complete: taken within that span, in that window of the plan. */
  taken(snapshot: string, span: WallSpan & { durationMs: number }, window: number): void {
    this.#window = window;
    this.#snapshot = snapshot;
    this.#span = span;
  }

  /** An application may not have been at rest all the time: it is worth what its snapshot alone is. */
  restIsDoubtful(): void {
    this.#restIsDoubtful = true;
  }

  get #consistency(): Consistency {
    // Only what was taken is worth anything.
    if (this.#snapshot === null) return 'none';
    const { consistency, fstype } = this.#source;
    return consistency === 'application' && this.#restIsDoubtful
      ? consistencyOf(this.#source, fstype, false)
      : consistency;
  }

  /** How long the last try stalled its writers, in milliseconds; null when it did not, or nobody can tell. */
  get frozenMs(): number | null {
    const { freezeMode } = this.#source;
    if (freezeMode === 'explicit') return this.#stall?.frozen?.frozenMs ?? null;
    return freezeMode === 'native' ? (this.#stall?.suspended?.suspendedMs ?? null) : null;
  }

  /** At which instant it was taken, by what happened: a freeze counts that was held to the end of the window. */
  get instantCandidate(): InstantCandidate {
    const { freezeMode, together } = this.#source;
    const { frozen } = this.#stall ?? {};
    const isHeld = freezeMode === 'explicit' && frozen !== undefined && frozen.lost === undefined;
    return { window: this.#window, isHeld, together };
  }

  /** `instant`: its number among the run's. */
  report(instant: number | null): SourceReport {
    const {
      otherMountpoints,
      mountpoint,
      device,
      fstype,
      provider,
      freezeMode,
      freezeModeReason,
      filesystem,
    } = this.#source;
    const frozen = freezeMode === 'explicit' ? this.#stall?.frozen : undefined;
    return {
      mountpoint,
      mountedAt: filesystem.mount.narrowedFrom ?? mountpoint,
      ...(otherMountpoints === undefined ? {} : { otherMountpoints: [...otherMountpoints] }),
      device,
      fstype,
      provider,
      freezeMode,
      freezeModeReason,
      frozenMs: this.frozenMs,
      freezeCallMs: frozen?.freezeCallMs ?? null,
      snapshotMs: this.#span?.durationMs ?? null,
      snapshotStartedAt: this.#span?.startedAt ?? null,
      snapshotFinishedAt: this.#span?.finishedAt ?? null,
      thawMs: frozen?.thawMs ?? null,
      snapshot: this.#snapshot,
      instant,
      consistency: this.#consistency,
      attempts: this.#attempts,
    };
  }
}
