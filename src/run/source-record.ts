import type { DeviceOutcome, FreezeOutcome } from '../freeze/freezer.js';
import type { InstantCandidate } from '../plan/instants.js';
import type { PlannedSource } from '../plan/plan.js';
import type { SourceReport } from '../report/run-report.js';
import type { WallSpan } from './timeline.js';

/** What its window did to one source. */
export interface Stall {
  /** Which of the plan's it was. */
  window: number;
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
  #span: (WallSpan & { durationMs: number }) | undefined;
  #stall: Stall | undefined;

  constructor(source: PlannedSource) {
    this.#source = source;
  }

  tried(attempt: number): void {
    this.#attempts = attempt;
  }

  begun(): void {
    this.#wasBegun = true;
  }

  /** Whether a snapshot of it was begun: one may have been made. */
  get wasBegun(): boolean {
    return this.#wasBegun;
  }

  /** The snapshot is complete: taken within that span. */
  taken(snapshot: string, span: WallSpan & { durationMs: number }, stall: Stall): void {
    this.#snapshot = snapshot;
    this.#span = span;
    this.#stall = stall;
  }

  /** At which instant it was taken, by what happened: a freeze counts that was held to the end of the window. */
  get instantCandidate(): InstantCandidate {
    const { freezeMode, together } = this.#source;
    const { window = null, frozen } = this.#stall ?? {};
    const isHeld = freezeMode === 'explicit' && frozen !== undefined && frozen.lost === undefined;
    return { window, isHeld, together };
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
      consistency,
      filesystem,
    } = this.#source;
    const frozen = freezeMode === 'explicit' ? this.#stall?.frozen : undefined;
    const suspended = freezeMode === 'native' ? this.#stall?.suspended : undefined;
    return {
      mountpoint,
      mountedAt: filesystem.mount.narrowedFrom ?? mountpoint,
      ...(otherMountpoints === undefined ? {} : { otherMountpoints: [...otherMountpoints] }),
      device,
      fstype,
      provider,
      freezeMode,
      freezeModeReason,
      frozenMs: frozen?.frozenMs ?? suspended?.suspendedMs ?? null,
      freezeCallMs: frozen?.freezeCallMs ?? null,
      snapshotMs: this.#span?.durationMs ?? null,
      snapshotStartedAt: this.#span?.startedAt ?? null,
      snapshotFinishedAt: this.#span?.finishedAt ?? null,
      thawMs: frozen?.thawMs ?? null,
      snapshot: this.#snapshot,
      instant,
      // Only what was taken is worth anything.
      consistency: this.#snapshot === null ? 'none' : consistency,
      attempts: this.#attempts,
    };
  }
}
