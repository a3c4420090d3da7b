import { lstatSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf } from '../../errors.js';
import type { CommandResult, runCommand } from '../../system/run-command.js';
import { copyFailure, MAX_UNREADABLE, UnreadablePaths } from '../copy-error.js';
import { LineWriter } from '../digests/digest-lines.js';
import { finishDigestList } from '../digests/digest-list.js';
import {
  escapePath,
  formatRecord,
  NOT_THERE,
  plainRecord,
  type DigestRecord,
} from '../digests/digest-record.js';
import type { CopyDigests, CopyProgress, CopyResult, CopySource, DigestRequest } from '../engine.js';
import { kibPerSecond } from '../pace.js';
import { asBytes, parseDigestLine, TELL_DIGESTS } from './rsync-digests.js';
import { printable } from '../printable.js';
import {
  namesBehind,
  parseComplaint,
  parseProgress,
  parseStats,
  parseTransferred,
  tellsOfNone,
  type RsyncStats,
} from './rsync-output.js';
import { literalPattern } from '../rsync-pattern.js';
import { nestedIn, parentsOf, pathInBackup } from '../source-layout.js';
import { under } from '../under.js';

/**
 * Everything that a file has: owner, mode, times, hard links, ACLs, xattrs, holes, device nodes. Nanoseconds count
 * in "unchanged" (`--modify-window=-1`): a file rewritten within the second of its last backup is not mistaken for it.
 * With one `X` the xattrs in which a receiver with `--fake-super` keeps owners and modes (`user.rsync.%…`) are left out:
 * they belong to what lies on a backup server. To any other receiver they are xattrs like all.
 */
export const FAITHFUL = ['-aHAXXS', '--numeric-ids', '--modify-window=-1'] as const;
const TALKATIVE = ['--info=progress2', '--stats', '--no-inc-recursive'] as const;

/** rsync(1), "EXIT VALUES": some files not transferred, source files vanished. */
export const PARTIAL = new Set([23, 24]);
/** Socket I/O, data stream, timeout in data, timeout waiting for a daemon; 255 is ssh's own. */
export const CONNECTION = new Set([10, 12, 30, 35, 255]);

/** The digests of one copy, while it goes on. */
export interface DigestTaking {
  algorithm: string;
  /** What is told, as it comes; `log` writes it. */
  raw: string;
  log: LineWriter;
  /** The parent's list, if it is one of the same digests. */
  parentList: string | undefined;
  finish: () => Promise<CopyDigests>;
}

/** What the transfers of one copy or restore come to, added up. */
export interface Tally extends RsyncStats {
  unreadable: UnreadablePaths;
  digests?: DigestTaking | undefined;
}

export function newTally(digests?: DigestTaking): Tally {
  return { bytes: 0, files: 0, entries: 0, unreadable: new UnreadablePaths(), digests };
}

/** What a copy with this tally brought. */
export async function resultOf({ bytes, files, unreadable, digests }: Tally): Promise<CopyResult> {
  const taken = digests === undefined ? {} : { digests: await digests.finish() };
  return { bytes, files, unreadable: unreadable.paths, ...taken };
}

/**
 * Begins to take the digests of a copy of `sources`; the directories above those are in the list from the start. What they
 * are made of outlives `finish`: another attempt may follow, in which nothing is read again. `Resumption` removes it.
 */
export function takeDigests(
  sources: readonly CopySource[],
  { file, parent }: DigestRequest,
  algorithm: string,
): DigestTaking {
  const raw = `${file}.raw`;
  const log = new LineWriter(raw, 'a');
  for (const directory of new Set(sources.flatMap((source) => parentsOf(source.path)))) {
    log.add(formatRecord(plainRecord('d', asBytes(pathInBackup(directory)))));
  }
  const parentList = parent?.algorithm === algorithm ? parent.file : undefined;
  const finish = async (): Promise<CopyDigests> => ({
    algorithm,
    ...(await finishDigestList(raw, file, parentList, { keepRaw: true })),
  });
  return { algorithm, raw, log, parentList, finish };
}

/**
 * The arguments of the copy of one source: what is left out, what to link from, whether the content of that is to be
 * compared, and whether to tell digests. After them
 * come where it is read, with a slash (what is in it, not the directory by its name in the snapshot), and where it goes.
 */
export function copyArguments(
  source: CopySource,
  sources: readonly CopySource[],
  { links, tally, compare }: { links: readonly string[]; tally: Tally; compare: boolean },
): string[] {
  const filters = [
    ...nestedIn(source, sources).map((nested) => literalPattern(`/${nested}`)),
    ...source.exclude,
  ];
  return [
    '--one-file-system',
    ...(tally.digests === undefined ? [] : [...TELL_DIGESTS, `--checksum-choice=${tally.digests.algorithm}`]),
    ...filters.map((pattern) => `--filter=- ${pattern}`),
    // Size and time are all that is looked at else, see `compareChanged`.
    ...(compare ? ['--checksum'] : []),
    ...links.map((directory) => `--link-dest=${directory}`),
  ];
}

/** The path on the live system for one that rsync named. */
export type ToLivePath = (found: string) => string;

/** Translates what rsync names: a path below one of `roots`, or one relative to `base`. */
export function livePaths(roots: Readonly<Record<string, string>>, base: string): ToLivePath {
  return (found) => {
    for (const [root, live] of Object.entries(roots)) {
      if (found === root || found.startsWith(`${root}/`)) return path.join(live, found.slice(root.length));
    }
    return found.startsWith('/') ? found : path.join(base, found);
  };
}

/** What one transfer is part of. */
export interface TransferContext {
  request: {
    signal: AbortSignal;
    onProgress: (progress: CopyProgress) => void;
    /** As of a `CopyRequest`. */
    limitBytesPerSecond?: number | undefined;
  };
  tally: Tally;
  toLivePath: ToLivePath;
  /** Where what is copied lies in the backup. */
  inside?: string;
  under?: readonly string[] | undefined;
  /** Names for `--files-from=-`. */
  input?: Uint8Array | undefined;
  /** As `input`, of more than should be held. */
  inputFrom?: Readable;
  /** What is copied, if it can be looked at from here, and where it goes. */
  trees?: { from: string | undefined; to: string };
  /**
   * Gets each file that is transferred, as `parseDigestLine` names it, below what is copied: its digest is then not recorded. With
   * `--dry-run`, each one that would be.
   */
  onTransfer?: (inside: string) => void;
  /** Gets each complaint about a file, with its path below what is copied, one character per byte. */
  onComplaint?: (line: string, inside: string) => void;
}

/** rsync(1), `--bwlimit`: KiB a second between its two processes, which may be on this host both. */
function atMost(bytesPerSecond: number | undefined): string[] {
  return bytesPerSecond === undefined ? [] : [`--bwlimit=${kibPerSecond(bytesPerSecond)}`];
}

/** Below what is copied, or where it goes; undefined for what lies in neither. */
function insideOf(name: string, { from, to }: NonNullable<TransferContext['trees']>): string | undefined {
  const root = [from, to].find((one) => one !== undefined && name.startsWith(`${asBytes(one)}/`));
  if (root !== undefined) return name.slice(asBytes(root).length + 1);
  return name.startsWith('/') ? undefined : name;
}

/** The record of a file that is not in the backup. */
function notThere(below: string, inside: string): DigestRecord {
  const name = inside === '' ? below : `${inside}/${below}`;
  return { type: 'f', digest: NOT_THERE, sizeBytes: 0, path: escapePath(name) };
}

/** The file that a complaint is about: what rsync receives has another name until it is whole. */
function meant(told: string, trees: TransferContext['trees']): string {
  const names = namesBehind(told);
  const isThere = (name: string): boolean => {
    const inside = trees?.from === undefined ? undefined : insideOf(name, trees);
    if (trees?.from === undefined || inside === undefined) return false;
    const file = Buffer.from(`${asBytes(trees.from)}/${inside}`, 'latin1');
    try {
      return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
    } catch (error) {
      // It is there, and cannot be read, or is no name that can be.
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  };
  return names.length === 1 ? told : (names.find(isThere) ?? names[0]);
}

/**
 * Runs one rsync to its end and adds to the tally what it did. Rejects with `copyFailed` unless all was transferred, or
 * all but single files, which are named in the tally, and what it said that is not understood in its own words. Resolves to how many regular files were brought, where rsync tells.
 */
export async function transfer(
  args: readonly string[],
  context: TransferContext,
  run: typeof runCommand,
): Promise<number | undefined> {
  const { request, tally, toLivePath, input, inputFrom } = context;
  const start = { bytes: tally.bytes, files: tally.files, entries: tally.entries };
  const isLinking = args.some((arg) => arg.startsWith('--link-dest='));
  let complaints = 0;
  let full = false;
  const unexplained: string[] = [];
  const all = [...FAITHFUL, ...TALKATIVE, ...atMost(request.limitBytesPerSecond), ...args];
  const result = await run(under(context.under, 'rsync', all), {
    signal: request.signal,
    carriageReturns: true,
    untilTaken: () => tally.digests?.log.untilTaken(),
    ...(input === undefined ? {} : { input }),
    ...(inputFrom === undefined ? {} : { stdinFrom: inputFrom }),
    onStdoutLine: (line) => {
      if (context.onTransfer !== undefined && /^@[<>]f/.test(line)) {
        const record = parseDigestLine(line, '');
        if (record !== undefined) context.onTransfer(record.path);
        return;
      }
      if (line.startsWith('@')) {
        const record = parseDigestLine(line, context.inside ?? '');
        if (record !== undefined) tally.digests?.log.add(formatRecord(record));
        return;
      }
      const progress = parseProgress(line);
      if (progress === undefined) return;
      tally.bytes = start.bytes + (progress.bytes ?? 0);
      tally.files = start.files + (progress.files ?? tally.files - start.files);
      tally.entries = start.entries + (progress.entries ?? tally.entries - start.entries);
      const { totalBytes, totalEntries } = progress;
      request.onProgress({
        bytes: tally.bytes,
        files: tally.files,
        // Files that are linked from another backup are in the total and never in what was copied.
        ...(totalBytes === undefined || isLinking ? {} : { totalBytes: start.bytes + totalBytes }),
        ...(totalEntries === undefined
          ? {}
          : { entries: tally.entries, totalEntries: start.entries + totalEntries }),
      });
    },
    onStderrLine: (line) => {
      const complaint = parseComplaint(line);
      if (complaint?.kind === 'full') full = true;
      const isStrange = complaint === undefined && line.startsWith('rsync: ');
      if (isStrange && unexplained.length < MAX_UNREADABLE) unexplained.push(printable(line));
      if (complaint?.kind !== 'path') return;
      complaints += 1;
      const name = meant(complaint.name, context.trees);
      tally.unreadable.add(toLivePath(printable(name)));
      const below = context.trees === undefined ? undefined : insideOf(name, context.trees);
      if (below === undefined) return;
      // rsync may have told of it as of any other; the names above are bounded.
      if (tellsOfNone(line)) tally.digests?.log.add(formatRecord(notThere(below, context.inside ?? '')));
      context.onComplaint?.(line, below);
    },
  });
  requireSuccess(result, { complaints, full });
  // Words of a version that is not known yet: something is lost, and nobody knows of what.
  if (result.exitCode !== 0) for (const line of unexplained) tally.unreadable.add(line);
  const stats = parseStats(result.stdout);
  tally.bytes = start.bytes + stats.bytes;
  tally.files = start.files + stats.files;
  tally.entries = start.entries + stats.entries;
  return parseTransferred(result.stdout);
}

function requireSuccess(result: CommandResult, told: { complaints: number; full: boolean }): void {
  if (result.exitCode === 0) return;
  const { exitCode } = result;
  // A full target is no matter of single files, although rsync goes on to the next.
  if (exitCode !== undefined && PARTIAL.has(exitCode) && told.complaints > 0 && !told.full) return;
  throw copyFailure('rsync', result, exitCode !== undefined && CONNECTION.has(exitCode));
}
