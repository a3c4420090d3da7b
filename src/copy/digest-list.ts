import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { LineWriter, readRecordBatches, sortLines } from './digest-lines.js';
import { formatRecord, type DigestRecord } from './digest-record.js';

/** What a finished list holds. */
export interface DigestSummary {
  /** Of the list itself. */
  sha256: string;
  entries: number;
  /** Files whose digest is not known. */
  unknown: number;
}

type Batches = AsyncIterable<DigestRecord[]>;

/** Of several records of one path the last, but a digest that is known survives one that is not. */
async function* lastOfEach(batches: Batches): AsyncGenerator<DigestRecord[]> {
  let current: DigestRecord | undefined;
  for await (const batch of batches) {
    const last: DigestRecord[] = [];
    for (const record of batch) {
      if (current === undefined || current.path !== record.path) {
        if (current !== undefined) last.push(current);
        current = record;
      } else if (record.digest !== '?' || current.digest === '=' || current.sizeBytes !== record.sizeBytes) {
        current = record;
      }
    }
    yield last;
  }
  if (current !== undefined) yield [current];
}

/** Goes through a sorted list once, beside another. */
class SortedList {
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
}

async function find(list: SortedList, name: string): Promise<DigestRecord | undefined> {
  for (;;) {
    const found = list.lookUp(name);
    if (found !== undefined) return found.record;
    await list.readOn();
  }
}

/** Gives files that were not read again the digest that they had in the parent's list. Both are sorted. */
async function* fromParent(batches: Batches, parent: SortedList): AsyncGenerator<DigestRecord[]> {
  for await (const batch of batches) {
    for (const record of batch) {
      if (record.digest !== '?') continue;
      const same = (parent.lookUp(record.path) ?? { record: await find(parent, record.path) }).record;
      if (same?.type === 'f' && same.sizeBytes === record.sizeBytes) record.digest = same.digest;
    }
    yield batch;
  }
}

/** Writes to `writer` all that `take` lets through, counted into `summary`. */
async function writeList(
  batches: Batches,
  writer: LineWriter,
  summary: Omit<DigestSummary, 'sha256'>,
  take: (record: DigestRecord) => boolean = () => true,
): Promise<void> {
  for await (const batch of batches) {
    for (const record of batch) {
      if (!take(record)) continue;
      summary.entries += 1;
      if (record.digest === '?') summary.unknown += 1;
      writer.add(formatRecord(record));
    }
    await writer.untilTaken();
  }
}

/** Records of further names, sorted by the name that they are linked to: each gets that one's digest. */
async function* linked(links: Batches, list: SortedList): AsyncGenerator<DigestRecord[]> {
  for await (const batch of links) {
    const looked: DigestRecord[] = [];
    for (const { link = '', ...record } of batch) {
      const found = (list.lookUp(link) ?? { record: await find(list, link) }).record;
      looked.push({ ...record, digest: found?.digest ?? '?' });
    }
    yield looked;
  }
}

/** SHA-256 of a file. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** Packs a file, and returns the SHA-256 of what came of it. */
async function pack(list: string, file: string): Promise<string> {
  const hash = createHash('sha256');
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(undefined, chunk);
    },
  });
  const packed = createWriteStream(file, { mode: 0o600 });
  await pipeline(createReadStream(list), createGzip({ level: 3 }), hashing, packed);
  return hash.digest('hex');
}

/**
 * Makes the list `file` of the records in `raw`, in whatever order they came: one for each path, further names of a
 * file with its digest, what has none looked up in the parent's list. Memory does not grow with their number; `raw`,
 * unless it is to stay, and what is made on the way, beside it, are removed.
 */
export async function finishDigestList(
  raw: string,
  file: string,
  parentList: string | undefined,
  { keepRaw = false } = {},
): Promise<DigestSummary> {
  const directory = path.dirname(raw);
  const at = (name: string): string => `${raw}.${name}`;
  const [sorted, list, links] = [at('sorted'), at('list'), at('links')];
  await sortLines(raw, sorted, 4, directory);

  const summary = { entries: 0, unknown: 0 };
  const [toList, toLinks] = [new LineWriter(list, 'w'), new LineWriter(links, 'w')];
  let linkCount = 0;
  const parent = parentList === undefined ? undefined : new SortedList(parentList);
  const each = lastOfEach(readRecordBatches(sorted));
  await writeList(parent === undefined ? each : fromParent(each, parent), toList, summary, (record) => {
    if (record.link === undefined) return true;
    linkCount += 1;
    toLinks.add(formatRecord(record));
    return false;
  });
  await parent?.close();
  await Promise.all([toList.close(), toLinks.close()]);

  if (linkCount > 0) {
    await sortLines(links, at('by-target'), 5, directory);
    const files = new SortedList(list);
    const more = new LineWriter(at('more'), 'w');
    await writeList(linked(readRecordBatches(at('by-target')), files), more, summary);
    await files.close();
    await more.close();
    await sortLines([list, at('more')], at('both'), 4, directory);
    await rename(at('both'), list);
  }
  const sha256 = await pack(list, file);
  if (!keepRaw) await rm(raw, { force: true });
  for (const name of ['.sorted', '.list', '.links', '.by-target', '.more', '.both'])
    await rm(`${raw}${name}`, { force: true });
  return { ...summary, sha256 };
}
