import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { linesOf, LineWriter, readRecords, sortLines } from './digest-lines.js';
import { formatRecord, parseRecord, type DigestRecord } from './digest-record.js';

/** What a finished list holds. */
export interface DigestSummary {
  /** Of the list itself. */
  sha256: string;
  entries: number;
  /** Files whose digest is not known. */
  unknown: number;
}

/** Of several records of one path the last, but a digest that is known survives one that is not. */
async function* lastOfEach(records: AsyncIterable<DigestRecord>): AsyncGenerator<DigestRecord> {
  let current: DigestRecord | undefined;
  for await (const record of records) {
    if (current === undefined || current.path !== record.path) {
      if (current !== undefined) yield current;
      current = record;
    } else if (record.digest !== '?' || current.digest === '=' || current.sizeBytes !== record.sizeBytes) {
      current = record;
    }
  }
  if (current !== undefined) yield current;
}

/** Gives files that were not read again the digest that they had in the parent's list. Both are sorted. */
async function* fromParent(
  records: AsyncIterable<DigestRecord>,
  parent: AsyncIterator<DigestRecord> | undefined,
): AsyncGenerator<DigestRecord> {
  let before = await parent?.next();
  for await (const record of records) {
    while (before?.done === false && before.value.path < record.path) before = await parent?.next();
    const same = before?.done === false && before.value.path === record.path ? before.value : undefined;
    yield record.digest === '?' && same?.type === 'f' && same.sizeBytes === record.sizeBytes
      ? { ...record, digest: same.digest }
      : record;
  }
}

/** Records of further names, sorted by the name that they are linked to: each gets that one's digest. */
async function* linked(links: AsyncIterable<DigestRecord>, list: string): AsyncGenerator<DigestRecord> {
  const files = readRecords(list);
  let file = await files.next();
  for await (const { link = '', ...record } of links) {
    while (file.done === false && file.value.path < link) file = await files.next();
    const digest = file.done === false && file.value.path === link ? file.value.digest : '?';
    yield { ...record, digest };
  }
  await files.return(undefined);
}

async function* countInto(
  summary: { entries: number; unknown: number },
  lines: AsyncIterable<DigestRecord>,
): AsyncGenerator<string> {
  let text = '';
  for await (const record of lines) {
    summary.entries += 1;
    if (record.digest === '?') summary.unknown += 1;
    text += `${formatRecord(record)}\n`;
    if (text.length < 64 * 1024) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** SHA-256 of a file. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

async function pack(records: AsyncIterable<DigestRecord>, file: string): Promise<DigestSummary> {
  const counts = { entries: 0, unknown: 0 };
  const hash = createHash('sha256');
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(undefined, chunk);
    },
  });
  const text = Readable.from(countInto(counts, records));
  await pipeline(text, createGzip({ level: 3 }), hashing, createWriteStream(file, { mode: 0o600 }));
  return { ...counts, sha256: hash.digest('hex') };
}

/**
 * Makes the list `file` of the records in `raw`, in whatever order they came: one for each path, further names of a
 * file with its digest, what has none looked up in the parent's list. Memory does not grow with their number; `raw`
 * and what is made on the way, beside it, are removed.
 */
export async function finishDigestList(
  raw: string,
  file: string,
  parentList: string | undefined,
): Promise<DigestSummary> {
  const directory = path.dirname(raw);
  const at = (name: string): string => `${raw}.${name}`;
  const [sorted, list, links] = [at('sorted'), at('list'), at('links')];
  await sortLines(raw, sorted, 4, directory);

  const [toList, toLinks] = [new LineWriter(list, 'w'), new LineWriter(links, 'w')];
  let linkCount = 0;
  const parent = parentList === undefined ? undefined : readRecords(parentList);
  await toList.addAll(
    (async function* apart() {
      for await (const line of linesOf(fromParent(lastOfEach(readRecords(sorted)), parent))) {
        if (parseRecord(line).link === undefined) yield line;
        else {
          linkCount += 1;
          toLinks.add(line);
        }
      }
    })(),
  );
  await parent?.return(undefined);
  await Promise.all([toList.close(), toLinks.close()]);

  if (linkCount > 0) {
    await sortLines(links, at('by-target'), 5, directory);
    const both = new LineWriter(at('both'), 'w');
    await both.addAll(linesOf(linked(readRecords(at('by-target')), list)));
    await both.addAll(linesOf(readRecords(list)));
    await both.close();
    await sortLines(at('both'), list, 4, directory);
  }
  const summary = await pack(readRecords(list), file);
  for (const name of ['', '.sorted', '.list', '.links', '.by-target', '.both'])
    await rm(`${raw}${name}`, { force: true });
  return summary;
}
