import type { ArmFreezer, Freezer, FreezeOptions, FreezeTarget } from '../freeze/freezer.js';
import { MAX_SLOTS } from '../freeze/protocol.js';

/**
 * Proves of filesystems that nobody holds them frozen, by freezing and thawing each for an instant, with the dead-man over
 * it as over every other freeze. From `arm` to `close` no other fsbackup can freeze them, or probe them.
 */
export class OriginProbe {
  readonly #freezers: Freezer[] = [];

  /** Rejects as `ArmFreezer` does: with `locked` where a living fsbackup holds one of them. */
  static async arm(
    origins: readonly FreezeTarget[],
    arm: ArmFreezer,
    options: FreezeOptions,
  ): Promise<OriginProbe> {
    const probe = new OriginProbe();
    try {
      for (let index = 0; index < origins.length; index += MAX_SLOTS) {
        const targets = origins.slice(index, index + MAX_SLOTS);
        probe.#freezers.push(await arm({ targets, devices: [] }, options));
      }
      return probe;
    } catch (error) {
      await probe.close();
      throw error;
    }
  }

  /**
   * Rejects with `notFrozen` for one that somebody else holds frozen, and leaves it so; with `freezeLost` for one that
   * cannot be frozen in time; with the signal's reason when that is aborted. Nothing is frozen by us any more then, but
   * after `thawFailed`. Once only.
   */
  async probe(signal?: AbortSignal): Promise<void> {
    for (const freezer of this.#freezers) {
      signal?.throwIfAborted();
      // A FIFREEZE that waits for somebody is ended by the thaw.
      const stop = (): void => void freezer.thaw().catch(() => undefined);
      signal?.addEventListener('abort', stop, { once: true });
      try {
        await freezer.probe();
        signal?.throwIfAborted();
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener('abort', stop);
      }
    }
  }

  /** Gives the locks back, and ends the guards. Rejects with `thawFailed`. Idempotent. */
  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#freezers.map((freezer) => freezer.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }
}
