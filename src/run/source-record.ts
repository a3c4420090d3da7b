import type { FreezeOutcome } from '../freeze/freezer.js';
import type { PlannedSource } from '../plan/plan.js';
import type { SourceReport } from '../report/run-report.js';

/** What becomes of one planned source while the run goes on. */
export class SourceRecord {
  readonly #source: PlannedSource;
  #attempts = 0;
  #snapshot: string | null = null;
  #snapshotMs: number | null = null;
  #outcome: FreezeOutcome | undefined;

  constructor(source: PlannedSource) {
    this.#source = source;
  }

  tried(attempt: number): void {
    this.#attempts = attempt;
  }

  /** Whether a snapshot of it was begun. */
  get wasTried(): boolean {
    return this.#attempts > 0;
  }

  /** The snapshot is complete; `outcome` when its filesystem was frozen for it, to the end. */
  taken(snapshot: string, snapshotMs: number, outcome: FreezeOutcome | undefined): void {
    this.#snapshot = snapshot;
    this.#snapshotMs = snapshotMs;
    this.#outcome = outcome;
  }

  report(): SourceReport {
    const { mountpoint, device, fstype, provider, freezeMode, freezeModeReason, consistency } = this.#source;
    const outcome = freezeMode === 'explicit' ? this.#outcome : undefined;
    return {
      mountpoint,
      device,
      fstype,
      provider,
      freezeMode,
      freezeModeReason,
      frozenMs: outcome?.frozenMs ?? null,
      freezeCallMs: outcome?.freezeCallMs ?? null,
      snapshotMs: this.#snapshotMs,
      thawMs: outcome?.thawMs ?? null,
      snapshot: this.#snapshot,
      // Only what was taken is worth anything.
      consistency: this.#snapshot === null ? 'none' : consistency,
      attempts: this.#attempts,
    };
  }
}
