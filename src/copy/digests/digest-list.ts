import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { LineWriter, readRecordBatches, sortLines, writeStream } from './digest-lines.js';
import { formatRecord, NOT_THERE, type DigestRecord } from './digest-record.js';
import { SortedList } from './sorted-list.js';

/** What a finished list holds. */
export interface DigestSummary {
  /** Of the list itself. */
  sha256: string;
  entries: number;
  /** Files whose digest is not known. */
  unknown: number;
}

type Batches = AsyncIterable<DigestRecord[]>;

/** Makes one record of two of the same path, in the order in which they came. */
type Fold = (before: DigestRecord, next: DigestRecord) => DigestRecord;

/** The last, but a digest that is known survives one that is not; and so does that there is no such file. */
function lastOf(before: DigestRecord, next: DigestRecord): DigestRecord {
  if (next.digest === NOT_THERE) return next;
  if (before.digest === NOT_THERE) return next.digest === '?' ? before : next;
  const isBetter = next.digest !== '?' || before.digest === '=' || before.sizeBytes !== next.sizeBytes;
  return isBetter ? next : before;
}

/** No file has this size, so nothing agrees with it any more. */
const DISAGREED = { digest: '?', sizeBytes: -1 } as const;

/** What both say; a digest that is not known contradicts none. Of those that contradict each other neither counts. */
export function agreed(before: DigestRecord, next: DigestRecord): DigestRecord {
  const { type, path: name, sizeBytes } = next;
  if (before.type === type && before.sizeBytes === sizeBytes) {
    if (next.digest === '?') return before;
    if (before.digest === '?' || (before.digest === next.digest && before.link === next.link)) return next;
  }
  return { type, path: name, ...DISAGREED };
}

async function* oneOfEach(batches: Batches, fold: Fold): AsyncGenerator<DigestRecord[]> {
  let current: DigestRecord | undefined;
  for await (const batch of batches) {
    const done: DigestRecord[] = [];
    for (const record of batch) {
      if (current?.path === record.path) current = fold(current, record);
      else {
        if (current !== undefined) done.push(current);
        current = record;
      }
    }
    yield done;
  }
  if (current !== undefined) yield [current];
}

/** Gives files that were not read again the digest that they had in the parent's list. Both are sorted. */
async function* fromParent(batches: Batches, parent: SortedList): AsyncGenerator<DigestRecord[]> {
  for await (const batch of batches) {
    for (const record of batch) {
      if (record.digest !== '?') continue;
      const same = (parent.lookUp(record.path) ?? { record: await parent.find(record.path) }).record;
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
      if (record.digest === NOT_THERE || !take(record)) continue;
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
      const found = (list.lookUp(link) ?? { record: await list.find(link) }).record;
      looked.push({ ...record, digest: found?.digest ?? '?' });
    }
    yield looked;
  }
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
  const packed = writeStream(file, 'w');
  await pipeline(createReadStream(list), createGzip({ level: 3 }), hashing, packed);
  return hash.digest('hex');
}

/**
 * Makes the list `file` of the records in `raw`, in whatever order they came: one for each path, further names of a
 * file with its digest, what has none looked up in the parent's list, nothing that could not be read. Memory does not grow with their number; `raw`,
 * unless it is to stay, and what is made on the way, beside it, are removed. `fold` decides between several of one path.
 */
export async function finishDigestList(
  raw: string,
  file: string,
  parentList: string | undefined,
  { keepRaw = false, fold = lastOf }: { keepRaw?: boolean; fold?: Fold } = {},
): Promise<DigestSummary> {
  const directory = path.dirname(raw);
  const at = (name: string): string => `${raw}.${name}`;
  const [sorted, list, links] = [at('sorted'), at('list'), at('links')];
  const summary = { entries: 0, unknown: 0 };
  try {
    await sortLines(raw, sorted, 4, directory);
    const [toList, toLinks] = [new LineWriter(list, 'w'), new LineWriter(links, 'w')];
    let linkCount = 0;
    const parent = parentList === undefined ? undefined : new SortedList(parentList);
    const each = oneOfEach(readRecordBatches(sorted), fold);
    const isNoLink = (record: DigestRecord): boolean => {
      if (record.link === undefined) return true;
      linkCount += 1;
      toLinks.add(formatRecord(record));
      return false;
    };
    const write = async (): Promise<void> => {
      await writeList(parent === undefined ? each : fromParent(each, parent), toList, summary, isNoLink);
    };
    try {
      await toList.closeAfter(() => toLinks.closeAfter(write));
    } finally {
      await parent?.close();
    }

    if (linkCount > 0) {
      await sortLines(links, at('by-target'), 5, directory);
      const files = new SortedList(list);
      const more = new LineWriter(at('more'), 'w');
      try {
        const batches = linked(readRecordBatches(at('by-target')), files);
        await more.closeAfter(() => writeList(batches, more, summary));
      } finally {
        await files.close();
      }
      await sortLines([list, at('more')], at('both'), 4, directory);
      await rename(at('both'), list);
    }
    const sha256 = await pack(list, file);
    if (!keepRaw) await rm(raw, { force: true });
    return { ...summary, sha256 };
  } finally {
    for (const name of ['.sorted', '.list', '.links', '.by-target', '.more', '.both'])
      await rm(`${raw}${name}`, { force: true });
  }
}
