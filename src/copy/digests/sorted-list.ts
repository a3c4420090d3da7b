import { readRecordBatches } from './digest-lines.js';
import type { DigestRecord } from './digest-record.js';

/** Goes through a sorted list once, beside another. */
export class SortedList {
  readonly #batches: AsyncGenerator<DigestRecord[]>;
  #batch: readonly DigestRecord[] = [];
  #at = 0;
  #hasEnded = false;

  constructor(file: string) {
    this.#batches = readRecordBatches(file);
  }

  /** The record of a path, which is no lower than that of the last call; undefined while more has to be read. */
  lookUp(name: string): { record: DigestRecord | undefined } | undefined {
    for (; this.#at < this.#batch.length; this.#at += 1) {
      const record = this.#batch[this.#at];
      if (record !== undefined && record.path >= name)
        return { record: record.path === name ? record : undefined };
    }
    return this.#hasEnded ? { record: undefined } : undefined;
  }

  async readOn(): Promise<void> {
    const next = await this.#batches.next();
    this.#hasEnded = next.done === true;
    this.#batch = next.done === true ? [] : next.value;
    this.#at = 0;
  }

  async close(): Promise<void> {
    await this.#batches.return(undefined);
  }

  /** The record of a path, which is no lower than that of the last call. */
  async find(name: string): Promise<DigestRecord | undefined> {
    for (;;) {
      const found = this.lookUp(name);
      if (found !== undefined) return found.record;
      await this.readOn();
    }
  }
}
