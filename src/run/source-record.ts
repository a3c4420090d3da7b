import type { DeviceOutcome, FreezeOutcome } from '../freeze/freezer.js';
import type { PlannedSource } from '../plan/plan.js';
import type { SourceReport } from '../report/run-report.js';
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

  report(): SourceReport {
    const { mountpoint, device, fstype, provider, freezeMode, freezeModeReason, consistency } = this.#source;
    const frozen = freezeMode === 'explicit' ? this.#stall?.frozen : undefined;
    const suspended = freezeMode === 'native' ? this.#stall?.suspended : undefined;
    return {
      mountpoint,
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
      // Only what was taken is worth anything.
      consistency: this.#snapshot === null ? 'none' : consistency,
      attempts: this.#attempts,
    };
  }
}
