/** One thing that is held, or may be. */
export interface Held {
  /** Names it to people: `snapshot fsbackup-srv-…-0`. */
  readonly what: string;
  /** Releases it now; a second call does nothing. Rejects as the release did, and may then be tried again. */
  release(): Promise<void>;
  /** It is no longer to be released: what was made is to stay. */
  keep(): void;
}

/** A release that failed: the thing is still held. */
export interface ReleaseFailure {
  what: string;
  error: unknown;
}

/**
 * What a run holds, in the order it was acquired. Every acquisition is pushed before it is begun, so that nothing is
 * lost to a failure in the middle; releases are therefore idempotent and tolerate what was never made.
 */
export class ReleaseStack {
  readonly #held: Held[] = [];

  readonly #lower = new Map<Held, Held>();

  /**
   * Registers `release` for something about to be acquired. `lower` is what it lies on, as a mount does on a
   * snapshot: that is not released, but fails, as long as this one is held.
   */
  push(what: string, release: () => Promise<void>, lower?: Held): Held {
    const held: Held = {
      what,
      release: async () => {
        if (!this.#held.includes(held)) return;
        const upper = this.#held.find((other) => this.#lower.get(other) === held);
        if (upper !== undefined) throw new Error(`${upper.what} still needs it`);
        await release();
        this.#forget(held);
      },
      keep: () => this.#forget(held),
    };
    this.#held.push(held);
    if (lower !== undefined) this.#lower.set(held, lower);
    return held;
  }

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  #forget(held: Held): void {
    const index = this.#held.indexOf(held);
    if (index !== -1) this.#held.splice(index, 1);
  }

  /** Releases all, the last acquired first, past failures, which it returns. What failed stays on the stack. */
  async releaseAll(): Promise<ReleaseFailure[]> {
    return await releaseInReverse(this.#held);
  }
}

/**
 * Releases some of what a stack holds, the last acquired first, past failures, which it returns; what failed stays on
 * its stack, so that the end of the run tries once more.
 */
export async function releaseInReverse(some: readonly Held[]): Promise<ReleaseFailure[]> {
  const failures: ReleaseFailure[] = [];
  for (const held of some.toReversed()) {
    try {
      await held.release();
    } catch (error) {
      failures.push({ what: held.what, error });
    }
  }
  return failures;
}
