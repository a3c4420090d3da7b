import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import type { CommandResult, runCommand } from '../../system/run-command.js';
import { copyFailure, MAX_UNREADABLE, UnreadablePaths } from '../copy-error.js';
import { LineWriter } from '../digests/digest-lines.js';
import { finishDigestList } from '../digests/digest-list.js';
import { formatRecord } from '../digests/digest-record.js';
import type { CopyRequest, CopyResult, CopySource } from '../engine.js';
import { makeParents, setParentTimes } from '../parent-directories.js';
import { printable } from '../printable.js';
import { removeTree } from '../remove-tree.js';
import { nestedIn, pathInBackup, requireSources } from '../source-layout.js';
import { writeMemberList, type MemberTree } from './tar-members.js';
import { isPadded, parseComplaint, unescapeName } from './tar-output.js';
import { TarStream } from './tar-stream.js';
import { recordOf, TAR_DIGEST } from './tar-verify.js';

/**
 * ACLs travel as the extended attributes that the kernel keeps them in: numeric. tar's own `--acls` stores them by
 * user name, and restores someone else's where the names differ.
 */
const FAITHFUL = ['--format=posix', '--numeric-owner', '--xattrs', '--xattrs-include=*', '--sparse'] as const;

/** Written into the archive for every entry otherwise; nothing can restore a ctime, and nobody wants an old atime. */
const PLAIN_HEADERS = '--pax-option=delete=atime,delete=ctime';

/** tar(1), "RETURN VALUE": 1 is "some files differ", such as one that changed while it was read. */
const READABLE_ENDS = new Set([0, 1]);

/** An absolute name for a tree that no other tree of the archive shares: `/./x` is `/x`. */
function spelling(readFrom: string, index: number): string {
  return `/${'./'.repeat(index)}${readFrom === '/' ? '.' : readFrom.slice(1)}`;
}

/** Gives members their names: what begins with `prefix` (hard links' targets too, symlinks' not) gets `inside`. */
function renaming(prefix: string, inside: string): string[] {
  const from = prefix.replaceAll(/[\\.*[\]^$,]/g, String.raw`\$&`);
  const to = inside.replaceAll(/[\\&,]/g, String.raw`\$&`);
  return inside === ''
    ? [`--transform=s,^${from}$,.,rhS`, `--transform=s,^${from}/,,rhS`]
    : [String.raw`--transform=s,^${from}\(/\|$\),${to}\1,rhS`];
}

/** The trees of an archive: first the directories above the sources, so that a source's own ones prevail over them. */
function treesOf(sources: readonly CopySource[], skeleton: string): (MemberTree & { inside: string })[] {
  const parents = { livePath: '', exclude: [], nested: [], withRoot: false };
  return [
    { ...parents, spelledAs: spelling(skeleton, 0), inside: '' },
    ...sources.map((source, index) => ({
      spelledAs: spelling(source.readFrom, index + 1),
      livePath: source.path === '/' ? '' : source.path,
      exclude: source.exclude,
      nested: nestedIn(source, sources),
      withRoot: true,
      inside: pathInBackup(source.path),
    })),
  ];
}

/** The live path of a name that tar printed. */
function livePathOf(printed: string, trees: readonly MemberTree[]): string {
  const name = Buffer.from(unescapeName(printed), 'latin1');
  for (const { spelledAs, livePath } of trees) {
    const root = Buffer.from(spelledAs, 'utf8');
    if (!name.subarray(0, root.length).equals(root)) continue;
    const rest = name.subarray(root.length);
    if (rest.length === 0) return livePath === '' ? '/' : livePath;
    if (rest[0] === 0x2f) return livePath + printable(rest.toString('latin1'));
  }
  return printable(name.toString('latin1'));
}

/** What takes the archive that tar writes. It is run beside tar, and its end is the end of the archive. */
export interface ArchiveTaker {
  /** Of the program, for messages. */
  name: string;
  take: (archive: TarStream) => Promise<CommandResult>;
}

/**
 * Writes the sources of a copy as one archive to `taker`. What it needs on the way lies in the data directory, and is
 * gone when it succeeds. Rejects with `copyFailed` unless both programs did.
 */
export async function packSources(
  request: CopyRequest,
  taker: ArchiveTaker,
  run: typeof runCommand,
): Promise<CopyResult> {
  const { dataDirectory, sources } = request;
  await requireSources(sources);
  const skeleton = path.join(dataDirectory, 'parents');
  const list = path.join(dataDirectory, 'members');
  // What an attempt that was killed left.
  await removeTree(skeleton);
  await mkdir(skeleton, { mode: 0o700 });
  await makeParents(skeleton, sources, request.signal);
  await setParentTimes(skeleton, sources);
  const result = await write(request, { trees: treesOf(sources, skeleton), list, taker }, run);
  await rm(list);
  await removeTree(skeleton);
  return result;
}

/** What one archive is made of, and for whom. */
interface Packing {
  trees: readonly (MemberTree & { inside: string })[];
  /** The file with the names of the members. */
  list: string;
  taker: ArchiveTaker;
}

async function write(request: CopyRequest, packing: Packing, run: typeof runCommand): Promise<CopyResult> {
  const { trees, list } = packing;
  const unreadable = new UnreadablePaths();
  const padded = new Set<string>();
  const listed = await writeMemberList(list, trees, {
    signal: request.signal,
    onUnreadable: (found) => unreadable.add(found),
  });
  const raw = `${request.digests?.file ?? list}.raw`;
  const log = new LineWriter(raw, 'w');
  const tally = { bytes: 0, files: 0 };
  const stream = new TarStream(
    (member, digest) => {
      if (digest !== undefined) log.add(formatRecord(recordOf(member, digest)));
      else if (member.type !== '5') {
        tally.files += 1;
        tally.bytes += member.sizeBytes;
        request.onProgress({ ...tally, totalFiles: listed.files });
      }
    },
    () => log.untilTaken(),
  );
  await log.closeAfter(() => pack(stream, { ...packing, unreadable, padded, signal: request.signal }, run));
  // A restore knows by their names what not to bring.
  if (padded.size > MAX_UNREADABLE) {
    throw new FsbackupError(
      'copyFailed',
      `more than ${MAX_UNREADABLE} files could not be read to their end, ${[...padded][0]} for one`,
      {
        hint: 'See what is wrong with the disk (dmesg); rsync packs nothing in place of what it cannot read.',
      },
    );
  }
  const named = new Set([...padded, ...unreadable.paths]);
  const result = { ...tally, unreadable: [...named].slice(0, MAX_UNREADABLE) };
  if (request.digests !== undefined) {
    const summary = await finishDigestList(raw, request.digests.file, undefined);
    return { ...result, digests: { algorithm: TAR_DIGEST, ...summary } };
  }
  await rm(raw);
  return result;
}

/** tar to `stream`, which sees what it read, to whoever takes it. */
async function pack(
  stream: TarStream,
  {
    trees,
    list,
    taker,
    unreadable,
    padded,
    signal,
  }: Packing & {
    unreadable: UnreadablePaths;
    /** Gets the live paths of the members that have zeros in place of what could not be read. */
    padded: Set<string>;
    signal: AbortSignal;
  },
  run: typeof runCommand,
): Promise<void> {
  const [made, taken] = await Promise.all([
    run(
      [
        'tar',
        '--create',
        '--file=-',
        '--blocking-factor=128',
        ...FAITHFUL,
        PLAIN_HEADERS,
        '--absolute-names',
        ...trees.flatMap((tree) => renaming(tree.spelledAs, tree.inside)),
        '--ignore-failed-read',
        '--quoting-style=escape',
        '--no-recursion',
        '--null',
        '--no-unquote',
        '--verbatim-files-from',
        `--files-from=${list}`,
      ],
      {
        signal,
        stdoutTo: stream,
        onStderrLine: (line) => {
          const complaint = parseComplaint(line);
          if (complaint === undefined) return;
          const live = livePathOf(complaint, trees);
          if (!isPadded(line)) unreadable.add(live);
          else if (padded.size <= MAX_UNREADABLE) padded.add(live);
        },
      },
    ).finally(() => {
      // It ended the stream, if it was ever started.
      if (!stream.writableEnded) stream.end();
    }),
    taker.take(stream).finally(() => {
      // tar must not wait for ever for somebody who reads on.
      stream.destroy();
    }),
  ]);
  // First what stopped the other one: tar's broken pipe is no news when zstd found the target full.
  if (taken.exitCode !== 0) throw copyFailure(taker.name, taken);
  if (made.exitCode === undefined || !READABLE_ENDS.has(made.exitCode)) throw copyFailure('tar', made);
}
