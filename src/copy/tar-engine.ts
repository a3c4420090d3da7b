import { chmod, mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { runCommand } from '../system/run-command.js';
import { copyFailure, UnreadablePaths, withCopyErrors } from './copy-error.js';
import { LineWriter } from './digest-lines.js';
import { finishDigestList } from './digest-list.js';
import { formatRecord } from './digest-record.js';
import type {
  CheckRestoredRequest,
  CopyEngine,
  CopyRequest,
  CopyResult,
  CopySource,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from './engine.js';
import { makeParents, setParentTimes } from './parent-directories.js';
import { printable } from './printable.js';
import { removeTree } from './remove-tree.js';
import { nestedIn, pathInBackup, requireSources } from './source-layout.js';
import { checkRestoredByTar } from './tar-check-restored.js';
import { writeMemberList, type MemberTree } from './tar-members.js';
import { parseComplaint, unescapeName } from './tar-output.js';
import { ARCHIVE, restoreTar } from './tar-restore.js';
import { TarStream } from './tar-stream.js';
import { recordOf, TAR_DIGEST, verifyTar } from './tar-verify.js';
import { checkTar } from './tar-version.js';

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

class TarEngine implements CopyEngine {
  readonly name = 'tar';
  readonly restoresInPlace = true;
  readonly #run: typeof runCommand;

  constructor(run: typeof runCommand) {
    this.#run = run;
  }

  preflight(): Promise<Record<string, string>> {
    return checkTar(this.#run);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(() => this.#copy(request));
  }

  async #copy(request: CopyRequest): Promise<CopyResult> {
    const { dataDirectory, sources } = request;
    await requireSources(sources);
    const skeleton = path.join(dataDirectory, 'parents');
    const list = path.join(dataDirectory, 'members');
    // What an attempt that was killed left.
    await removeTree(skeleton);
    await mkdir(skeleton, { mode: 0o700 });
    await makeParents(skeleton, sources);
    await setParentTimes(skeleton, sources);
    const result = await this.#write(request, treesOf(sources, skeleton), list);
    await rm(list);
    await removeTree(skeleton);
    return result;
  }

  async #write(
    request: CopyRequest,
    trees: readonly (MemberTree & { inside: string })[],
    list: string,
  ): Promise<CopyResult> {
    const archive = path.join(request.dataDirectory, ARCHIVE);
    // tar would make it readable to all.
    await (await open(archive, 'w', 0o600)).close();

    const unreadable = new UnreadablePaths();
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
    await log.closeAfter(() => this.#pack(stream, request.signal, { trees, list, archive, unreadable }));
    const result = { ...tally, unreadable: unreadable.paths };
    if (request.digests !== undefined) {
      const summary = await finishDigestList(raw, request.digests.file, undefined);
      return { ...result, digests: { algorithm: TAR_DIGEST, ...summary } };
    }
    await rm(raw);
    return result;
  }

  /** tar to `stream`, which sees what it read, to zstd. */
  async #pack(
    stream: TarStream,
    signal: AbortSignal,
    {
      trees,
      list,
      archive,
      unreadable,
    }: {
      trees: readonly (MemberTree & { inside: string })[];
      list: string;
      archive: string;
      unreadable: UnreadablePaths;
    },
  ): Promise<void> {
    const [made, packed] = await Promise.all([
      this.#run(
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
            if (complaint !== undefined) unreadable.add(livePathOf(complaint, trees));
          },
        },
      ).finally(() => {
        // It ended the stream, if it was ever started.
        if (!stream.writableEnded) stream.end();
      }),
      this.#run(['zstd', '-q', '-T0', '-f', '-o', archive], { signal, stdinFrom: stream }).finally(() => {
        // tar must not wait for ever for somebody who reads on.
        stream.destroy();
      }),
    ]);
    // First what stopped the other one: tar's broken pipe is no news when zstd found the target full.
    if (packed.exitCode !== 0) throw copyFailure('zstd', packed);
    if (made.exitCode === undefined || !READABLE_ENDS.has(made.exitCode)) throw copyFailure('tar', made);
    await chmod(archive, 0o600);
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => verifyTar(request, this.#run));
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => checkRestoredByTar(request, this.#run));
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(() => restoreTar(request, this.#run));
  }
}

/**
 * Copies into one archive, `<data>/data.tar.zst`, with the member `srv/…` for `/srv/…`. Sockets cannot be in an
 * archive; immutable and append-only flags are not kept. An attempt that failed is begun anew.
 */
export function createTarEngine(run: typeof runCommand = runCommand): CopyEngine {
  return new TarEngine(run);
}
