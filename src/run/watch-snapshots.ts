import { setTimeout as sleep } from 'node:timers/promises';
import type { TakenSnapshot } from './take-snapshots.js';

/** The snapshots of a run, watched while they are read. */
export interface SnapshotWatch {
  /** Aborted with the provider's `snapshotInvalid` as soon as one is known to be lost, and with `signal`. */
  readonly signal: AbortSignal;
  /** Asks once more, now. Rejects with `snapshotInvalid`: what was read meanwhile is not to be trusted. */
  check(): Promise<void>;
  /** Ends the watch. Idempotent. */
  stop(): void;
}

/**
 * Asks the providers every `intervalMs` whether the snapshots still hold what was taken. A classic LVM snapshot that
 * overflows is invalidated by the kernel and reads fail or, cached, do not: so a copy ends early, and is checked again
 * when it is done.
 */
export function watchSnapshots(
  taken: readonly TakenSnapshot[],
  options: { intervalMs: number; signal: AbortSignal },
): SnapshotWatch {
  const lost = new AbortController();
  const stopped = new AbortController();
  const check = async (): Promise<void> => {
    for (const { provider, ref } of taken) await provider.checkIntact(ref);
  };
  const watch = async (): Promise<void> => {
    const ended = { signal: stopped.signal, ref: false };
    while (!stopped.signal.aborted) {
      await sleep(options.intervalMs, undefined, ended).catch(() => undefined);
      if (!stopped.signal.aborted) await check();
    }
  };
  void watch().catch((error: unknown) => lost.abort(error));
  return {
    signal: AbortSignal.any([options.signal, lost.signal]),
    check,
    stop: () => stopped.abort(),
  };
}
