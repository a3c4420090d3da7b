import path from 'node:path';
import { compareDigests, noDifferences, type Differences } from './digest-compare.js';
import { LineWriter, readRecords } from './digest-lines.js';
import { finishDigestList } from './digest-list.js';
import { formatRecord, type DigestRecord } from './digest-record.js';
import type { VerifyRequest } from '../engine.js';

/** Collects what a verification finds in a backup, to compare it with the list. */
export class FoundEntries {
  readonly #request: Pick<VerifyRequest, 'scratch' | 'digests' | 'notInBackup'>;
  readonly #raw: string;
  readonly #writer: LineWriter;
  #regular = 0;

  constructor(request: Pick<VerifyRequest, 'scratch' | 'digests' | 'notInBackup'>) {
    this.#request = request;
    this.#raw = path.join(request.scratch, 'found');
    this.#writer = new LineWriter(this.#raw, 'w');
  }

  add(record: DigestRecord): void {
    if (record.type === 'f') this.#regular += 1;
    this.#writer.add(formatRecord(record));
  }

  /** See `LineWriter.untilTaken`. */
  untilTaken(): Promise<void> | undefined {
    return this.#writer.untilTaken();
  }

  /** Of a backup without a list: no difference is known, and no digest. */
  async compare(): Promise<Differences> {
    await this.#writer.close();
    const { digests, notInBackup } = this.#request;
    if (digests === undefined) return { ...noDifferences(), withoutDigest: this.#regular };
    const found = `${this.#raw}.gz`;
    await finishDigestList(this.#raw, found, undefined);
    const known = new Set(notInBackup);
    return await compareDigests(readRecords(digests.file), readRecords(found), (missing) =>
      known.has(missing),
    );
  }
}
