/** One thing that is held, or may be. */
export interface Held {
  /** Names it to people: `snapshot fsbackup-srv-…-0`. */
  readonly what: string;
  /** Releases it now; a second call does nothing. Rejects as the release did, and may then be tried again. */
  release(): Promise<void>;
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

  /** Registers `release` for something about to be acquired. */
  push(what: string, release: () => Promise<void>): Held {
    const held: Held = {
      what,
      release: async () => {
        if (!this.#held.includes(held)) return;
        await release();
        this.#held.splice(this.#held.indexOf(held), 1);
      },
    };
    this.#held.push(held);
    return held;
  }

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** Releases all, the last acquired first, past failures, which it returns. What failed stays on the stack. */
  async releaseAll(): Promise<ReleaseFailure[]> {
    const failures: ReleaseFailure[] = [];
    for (const held of this.#held.toReversed()) {
      try {
        await held.release();
      } catch (error) {
        failures.push({ what: held.what, error });
      }
    }
    return failures;
  }
}
