/** Numbers that look random and follow from a seed: the same seed draws the same runs (splitmix32). */
export class Random {
  #state: number;

  constructor(...seeds: readonly number[]) {
    this.#state = 0;
    for (const seed of seeds) this.#state = (this.#next() ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
  }

  #next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + (this.#next() % (to - from + 1));
  }

  /** One of them. Throws for none. */
  pick<T>(some: readonly T[]): T {
    const picked = some[this.between(0, some.length - 1)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }
}
