import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import type { runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped } from '../copy-error.js';
import { LineWriter, readBatches, readRecordBatches, sortLines } from '../digests/digest-lines.js';
import { escapePath, unescapePath } from '../digests/digest-record.js';
import type { CopyRequest, CopySource } from '../engine.js';
import { programRecords } from '../program-records.js';
import { asBytes, TELL_DIGESTS } from './rsync-digests.js';
import { printable } from '../printable.js';
import {
  CONNECTION,
  newTally,
  transfer,
  type DigestTaking,
  type Tally,
  type ToLivePath,
  type TransferContext,
} from './rsync-transfer.js';
import { nestedIn, pathInBackup } from '../source-layout.js';

/** A clock that is set back makes what changed after a copy look older than it; by more than this it is seldom set. */
const CLOCK_SLACK_MS = 15 * 60_000;

/** rsync takes no longer names; of those somebody was told. */
const MAX_NAME = 4095;

/** find(1) names what it cannot look into in quotes, and why. */
const COMPLAINT = /^find: ['‘]?(.+?)['’]?: ([^:]+)$/;

/** Where the copy of a source goes. */
export interface CopyPlace {
  /** As rsync is told of it. */
  destination: string;
  /** Where it lies. */
  directory: string;
  /** Runs programs where that is. */
  run: typeof runCommand;
  /** More arguments for rsync. */
  args: readonly string[];
  toLivePath: ToLivePath;
}

/** One copy, whose sources have been copied by size and time. */
interface Compared {
  request: CopyRequest;
  tally: Tally;
  taking: DigestTaking;
  since: Date;
  placeOf: (source: CopySource) => CopyPlace;
}

/** The names of a source's files that changed in any way since then, one character per byte, some at a time. */
async function* changedSince(
  source: CopySource,
  { request: { signal, sources }, since, tally, placeOf }: Compared,
  run: typeof runCommand,
): AsyncGenerator<string[]> {
  const { toLivePath } = placeOf(source);
  const nested = nestedIn(source, sources).map((name) => `${asBytes(name)}/`);
  const seconds = Math.floor((since.getTime() - CLOCK_SLACK_MS) / 1000);
  const changed = ['-xdev', '-type', 'f', '-newerct', `@${seconds}`, '-printf', String.raw`%P\0`];
  const onStderrLine = (line: string): void => {
    const [, name, reason] = COMPLAINT.exec(line) ?? [];
    // Of a live tree: what is gone since it was copied.
    if (name !== undefined && reason !== 'No such file or directory')
      tally.unreadable.add(toLivePath(printable(name)));
  };
  const records = programRecords(
    (options) => run(['find', `${source.readFrom}/`, ...changed], { ...options, onStderrLine }),
    {
      end: '\0',
      signal,
      check: (result) => {
        if (signal.aborted) throw copyStopped();
        // 1: of some of it somebody was told.
        if (result.exitCode !== 0 && result.exitCode !== 1) throw copyFailure('find', result);
      },
    },
  );
  for await (const names of records)
    yield names.filter(
      (name) => name.length <= MAX_NAME && !nested.some((directory) => name.startsWith(directory)),
    );
}

/** The files of `list`, lines `PATH INDEX` sorted by path, that no line `PATH read` is of: paths by source. */
async function* notRead(list: string): AsyncGenerator<{ source: number; path: string }> {
  let current: { path: string; source: number | undefined; isRead: boolean } | undefined;
  const known = (): { source: number; path: string } | undefined =>
    current?.source === undefined || current.isRead
      ? undefined
      : { source: current.source, path: current.path };
  for await (const lines of readBatches(list)) {
    for (const line of lines) {
      const [name = '', tag] = line.split(' ');
      if (current?.path !== name) {
        const found = known();
        if (found !== undefined) yield found;
        current = { path: name, source: undefined, isRead: false };
      }
      if (tag === 'read') current.isRead = true;
      else current.source = Number(tag);
    }
  }
  const last = known();
  if (last !== undefined) yield last;
}

/** Writes to `list` what changed and was not read while it was copied. Returns how many files that is of each source. */
async function listNotRead(list: string, compared: Compared, run: typeof runCommand): Promise<number[]> {
  const { request, taking } = compared;
  const unsorted = `${list}.unsorted`;
  const writer = new LineWriter(unsorted, 'w');
  let found = 0;
  try {
    await writer.closeAfter(async () => {
      for (const [index, source] of request.sources.entries()) {
        const inside = asBytes(pathInBackup(source.path));
        for await (const names of changedSince(source, compared, run)) {
          found += names.length;
          for (const name of names) writer.add(`${escapePath(path.posix.join(inside, name))} ${index}`);
          await writer.untilTaken();
        }
      }
      if (found === 0) return;
      for await (const records of readRecordBatches(taking.raw)) {
        for (const record of records) {
          if (record.type === 'f' && !'?='.includes(record.digest)) writer.add(`${record.path} read`);
        }
        await writer.untilTaken();
      }
    });
    if (found === 0) return [];
    await sortLines(unsorted, list, 1, path.dirname(list));
  } finally {
    await rm(unsorted, { force: true });
  }
  const counts = request.sources.map(() => 0);
  for await (const { source } of notRead(list)) counts[source] = (counts[source] ?? 0) + 1;
  return counts;
}

async function* namesOf(list: string, index: number, inside: string): AsyncGenerator<Buffer> {
  const skip = inside === '' ? 0 : inside.length + 1;
  for await (const { source, path: name } of notRead(list)) {
    if (source === index) yield Buffer.from(`${unescapePath(name).slice(skip)}\0`, 'latin1');
  }
}

/** The files of a list, `PATH` a line, as rsync and xargs are told of them. */
async function* listed(list: string): AsyncGenerator<Buffer> {
  for await (const names of readBatches(list))
    yield Buffer.from(names.map((name) => `${unescapePath(name)}\0`).join(''), 'latin1');
}

async function removeListed(list: string, { directory, run }: CopyPlace, signal: AbortSignal): Promise<void> {
  // From there: the whole path may be longer than one can be.
  const program = ['env', `--chdir=${directory}`, 'xargs', '-0', 'rm', '-f', '--'] as const;
  for await (const input of listed(list)) {
    const result = await run(program, { input, signal });
    if (signal.aborted) throw copyStopped();
    if (result.exitCode !== 0) throw copyFailure('rm', result, CONNECTION.has(result.exitCode ?? 0));
  }
}

/**
 * Once all is copied, by size and time: of each file that changed in any way since then, and was not read, the content is
 * compared with that of the copy, and brought where it differs. What is the same stays a link, and as it is: it is the file of
 * earlier backups too, whose attributes are theirs, whatever the source has by now.
 */
export async function compareChanged(compared: Compared, run: typeof runCommand): Promise<void> {
  const { request, taking } = compared;
  const list = `${taking.raw}.changed`;
  try {
    const counts = await listNotRead(list, compared, run);
    for (const [index, source] of request.sources.entries()) {
      if ((counts[index] ?? 0) > 0) await compareSource({ source, index, list }, compared, run);
    }
  } finally {
    await rm(list, { force: true });
  }
}

async function compareSource(
  { source, index, list }: { source: CopySource; index: number; list: string },
  { request: { signal, limitBytesPerSecond }, tally, taking, placeOf }: Compared,
  run: typeof runCommand,
): Promise<void> {
  const place = placeOf(source);
  const { readFrom } = source;
  const inside = asBytes(pathInBackup(source.path));
  const outdated = `${list}.outdated`;
  const log = new LineWriter(taking.raw, 'a');
  const transferring = async (how: readonly string[], more: Partial<TransferContext> = {}): Promise<void> => {
    const args = [...place.args, ...how, `${readFrom}/`, `${place.destination}/`];
    const context = {
      request: { signal, limitBytesPerSecond, onProgress: () => undefined },
      // They are counted already.
      tally: { ...newTally({ ...taking, log }), unreadable: tally.unreadable },
      inside,
      toLivePath: place.toLivePath,
      trees: { from: readFrom, to: place.directory },
      ...more,
    };
    await transfer(args, context, run);
  };
  const telling = [...TELL_DIGESTS, `--checksum-choice=${taking.algorithm}`, '--from0', '--files-from=-'];
  try {
    await log.closeAfter(async () => {
      const removing = new LineWriter(outdated, 'w');
      let [differing, lost] = [0, 0];
      await removing.closeAfter(() =>
        // Each file by itself. What is left out, or could not be read, is not there.
        transferring([...telling, '--dry-run', '--checksum', '--no-hard-links', '--existing'], {
          inputFrom: Readable.from(namesOf(list, index, inside)),
          onTransfer: (name) => {
            differing += 1;
            removing.add(name);
          },
          // It cannot be read any more: it would stay what it was before, and be taken for unchanged for ever.
          onComplaint: (line, name) => {
            if (/xattr|acl/.test(line)) return;
            lost += 1;
            removing.add(escapePath(name));
          },
        }),
      );
      if (differing + lost === 0) return;
      await removeListed(outdated, place, signal);
      // Nothing that is there is touched.
      if (differing > 0)
        await transferring([...telling, '--ignore-existing'], { inputFrom: Readable.from(listed(outdated)) });
      // A list leaves the attributes of the directory itself alone: its time was right until then.
      await transferring(['--existing', '--filter=- /*']);
    });
  } finally {
    await rm(outdated, { force: true });
  }
}
