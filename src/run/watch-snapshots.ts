import { setTimeout as sleep } from 'node:timers/promises';

/** What a run reads, watched for as long as it is read. */
export interface SnapshotWatch {
  /** Aborted with the `snapshotInvalid` of a check as soon as something is known to be lost, and with `signal`. */
  readonly signal: AbortSignal;
  /** Asks once more, now. Rejects with `snapshotInvalid`: what was read meanwhile is not to be trusted. */
  check(): Promise<void>;
  /** Ends the watch. Idempotent. */
  stop(): void;
}

/**
 * Asks every `intervalMs` whether all still holds what was taken. A classic LVM snapshot that overflows is invalidated by
 * the kernel and reads fail or, cached, do not: so a copy ends early, and is checked again when it is done.
 */
export function watchSnapshots(
  checks: readonly (() => Promise<void>)[],
  options: { intervalMs: number; signal: AbortSignal },
): SnapshotWatch {
  const lost = new AbortController();
  const stopped = new AbortController();
  const check = async (): Promise<void> => {
    for (const one of checks) await one();
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
