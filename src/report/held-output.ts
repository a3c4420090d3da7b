/**
 * Holds output back while a filesystem is frozen: a write to it, or to a terminal whose log lies on it, would block
 * until the thaw, and then nobody would be left to thaw.
 *
 * The window opens with the first frozen step and closes with the next step that is not, or with the job: between
 * two frozen steps the filesystem is frozen too.
 */
export class HeldOutput {
  #isFrozen = false;
  readonly #held: (() => void)[] = [];

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /** A frozen step begins. */
  hold(): void {
    this.#isFrozen = true;
  }

  /** Nothing is frozen any more: writes what was held, in order. */
  release(): void {
    this.#isFrozen = false;
    for (const write of this.#held.splice(0)) write();
  }

  /** Writes now, or after the thaw. */
  say(write: () => void): void {
    if (this.#isFrozen) this.#held.push(write);
    else write();
  }
}
