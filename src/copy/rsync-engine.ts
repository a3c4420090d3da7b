import { existsSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { showReadOnly } from '../system/show-read-only.js';
import { runCommand, type CommandResult } from '../system/run-command.js';
import { copyFailure, UnreadablePaths, withCopyErrors } from './copy-error.js';
import { nulTerminated } from './byte-path.js';
import { LineWriter } from './digest-lines.js';
import { finishDigestList } from './digest-list.js';
import { formatRecord, plainRecord } from './digest-record.js';
import type {
  CheckRestoredRequest,
  CopyDigests,
  CopyEngine,
  CopyProgress,
  CopyRequest,
  CopyResult,
  CopySource,
  DigestRequest,
  MountRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from './engine.js';
import { makeParents, setParentTimes } from './parent-directories.js';
import { removeTree } from './remove-tree.js';
import { asBytes, chooseChecksum, parseDigestLine, TELL_DIGESTS } from './rsync-digests.js';
import { checkRestoredByRsync } from './rsync-check-restored.js';
import { parseComplaint, parseProgress, parseStats, type RsyncStats } from './rsync-output.js';
import { literalPattern } from './rsync-pattern.js';
import { checkRsync } from './rsync-version.js';
import { verifyRsync } from './rsync-verify.js';
import { under } from './under.js';
import { deepestFirst, nestedIn, parentsOf, pathInBackup, requireSources, topmost } from './source-layout.js';

/**
 * Everything that a file has: owner, mode, times, hard links, ACLs, xattrs, holes, device nodes. Nanoseconds count
 * in "unchanged" (`--modify-window=-1`): a file rewritten within the second of its last backup is not mistaken for it.
 */
const FAITHFUL = ['-aHAXS', '--numeric-ids', '--modify-window=-1'] as const;
const TALKATIVE = ['--info=progress2', '--stats', '--no-inc-recursive'] as const;

/** rsync(1), "EXIT VALUES": some files not transferred, source files vanished. */
const PARTIAL = new Set([23, 24]);
/** Socket I/O, data stream, timeout in data, timeout waiting for a daemon. */
const CONNECTION = new Set([10, 12, 30, 35]);

/** rsync takes at most 20 `--link-dest`; the parent needs one. */
const MAX_EARLIER = 8;

interface Tally extends RsyncStats {
  unreadable: UnreadablePaths;
  digests?: DigestTaking | undefined;
}

/** The digests of one copy, while it goes on. */
interface DigestTaking {
  algorithm: string;
  log: LineWriter;
  finish: () => Promise<CopyDigests>;
}

/** The path on the live system for one that rsync named. */
type ToLivePath = (found: string) => string;

function earlierDirectory(dataDirectory: string, attempt: number): string {
  return `${dataDirectory}.earlier-${attempt}`;
}

function earlierAttempts(dataDirectory: string): string[] {
  const all = Array.from({ length: MAX_EARLIER }, (_, index) => earlierDirectory(dataDirectory, index + 1));
  return all.filter((directory) => existsSync(directory));
}

/**
 * Moves what an earlier attempt copied aside, as something to link from. Copying over it instead would change files
 * that are hard-linked into the parent backup, when owner or mode of the source changed meanwhile.
 */
async function setAsideEarlierAttempt(dataDirectory: string): Promise<string[]> {
  if ((await readdir(dataDirectory)).length === 0) return earlierAttempts(dataDirectory);
  const [oldest, ...others] = earlierAttempts(dataDirectory);
  if (oldest !== undefined && others.length + 1 === MAX_EARLIER) await removeTree(oldest);
  const free = Array.from({ length: MAX_EARLIER }, (_, index) => earlierDirectory(dataDirectory, index + 1));
  const aside = free.find((directory) => !existsSync(directory)) ?? earlierDirectory(dataDirectory, 1);
  await rename(dataDirectory, aside);
  await mkdir(dataDirectory, { mode: 0o700 });
  return earlierAttempts(dataDirectory);
}

class RsyncEngine implements CopyEngine {
  readonly name = 'rsync';
  readonly restoresInPlace = true;
  /** A backup is a plain directory. */
  readonly mounting = {
    kind: 'kernel',
    mount: ({ dataDirectory, directory }: MountRequest): Promise<void> =>
      showReadOnly(dataDirectory, directory),
  } as const;
  readonly #run: typeof runCommand;

  constructor(run: typeof runCommand) {
    this.#run = run;
  }

  preflight(): Promise<Record<string, string>> {
    return checkRsync(this.#run);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(() => this.#copy(request));
  }

  async #copy(request: CopyRequest): Promise<CopyResult> {
    const { dataDirectory, sources } = request;
    await requireSources(sources);
    const earlier = await setAsideEarlierAttempt(dataDirectory);
    const linkFrom = [
      ...earlier,
      ...(request.parentDataDirectory === undefined ? [] : [request.parentDataDirectory]),
    ];
    await makeParents(dataDirectory, sources);

    const digests =
      request.digests === undefined ? undefined : await this.#takeDigests(request, request.digests);
    const tally: Tally = { bytes: 0, files: 0, unreadable: new UnreadablePaths(), digests };
    const copyAll = async (): Promise<void> => {
      for (const source of deepestFirst(sources)) await this.#copySource(source, request, linkFrom, tally);
    };
    // Also of an attempt that failed: the next one does not read again what this one copied.
    await (digests === undefined ? copyAll() : digests.log.closeAfter(copyAll));
    await setParentTimes(dataDirectory, sources);
    for (const directory of earlier) await removeTree(directory);
    const [taken] = await Promise.all([
      digests?.finish(),
      // The sync before the manifest, which tells of failures, then finds little left to write.
      this.#run(['sync', '--file-system', '--', dataDirectory], { signal: request.signal }),
    ]);
    return {
      bytes: tally.bytes,
      files: tally.files,
      unreadable: tally.unreadable.paths,
      ...(taken === undefined ? {} : { digests: taken }),
    };
  }

  async #takeDigests({ sources }: CopyRequest, { file, parent }: DigestRequest): Promise<DigestTaking> {
    const algorithm = await chooseChecksum(this.#run);
    const raw = `${file}.raw`;
    const log = new LineWriter(raw, 'a');
    for (const directory of new Set(sources.flatMap((source) => parentsOf(source.path)))) {
      log.add(formatRecord(plainRecord('d', asBytes(pathInBackup(directory)))));
    }
    const parentList = parent?.algorithm === algorithm ? parent.file : undefined;
    const finish = async (): Promise<CopyDigests> => ({
      algorithm,
      ...(await finishDigestList(raw, file, parentList)),
    });
    return { algorithm, log, finish };
  }

  async #copySource(
    source: CopySource,
    request: CopyRequest,
    linkFrom: string[],
    tally: Tally,
  ): Promise<void> {
    const inside = pathInBackup(source.path);
    const destination = path.join(request.dataDirectory, inside);
    await mkdir(destination, { recursive: true, mode: 0o700 });
    const filters = [
      ...nestedIn(source, request.sources).map((nested) => literalPattern(`/${nested}`)),
      ...source.exclude,
    ];
    const links = linkFrom
      .map((directory) => path.join(directory, inside))
      .filter((directory) => existsSync(directory));
    await this.#transfer(
      [
        '--one-file-system',
        ...(tally.digests === undefined
          ? []
          : [...TELL_DIGESTS, `--checksum-choice=${tally.digests.algorithm}`]),
        ...filters.map((pattern) => `--filter=- ${pattern}`),
        ...links.map((directory) => `--link-dest=${directory}`),
        // The slash: what is in it, not the directory by its name in the snapshot.
        `${source.readFrom}/`,
        `${destination}/`,
      ],
      {
        request,
        tally,
        inside: asBytes(inside),
        toLivePath: livePaths({ [source.readFrom]: source.path, [destination]: source.path }, source.path),
      },
    );
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => verifyRsync(request, this.#run));
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => checkRestoredByRsync(request, FAITHFUL, this.#run));
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(() => this.#restore(request));
  }

  async #restore(request: RestoreRequest): Promise<CopyResult> {
    const { dataDirectory, destination, paths, parents } = request;
    const wanted = topmost(paths.length === 0 ? request.sources : paths).map(pathInBackup);
    const tally: Tally = { bytes: 0, files: 0, unreadable: new UnreadablePaths() };
    const toLivePath = livePaths({ [dataDirectory]: '/', [destination]: '/' }, '/');
    const bring = async (names: readonly string[], how: readonly string[]): Promise<void> => {
      // A list gives parent directories their attributes and leaves the destination's own alone; a source `/` is just it.
      const isAll = names.includes('');
      const listed = isAll ? [] : [...how, '--from0', '--files-from=-'];
      await this.#transfer(
        [...listed, `${dataDirectory}/`, `${destination}/`],
        { request, tally, toLivePath, under: request.under },
        isAll ? undefined : nulTerminated(names),
      );
    };
    const own = parents === undefined ? [] : ['--no-implied-dirs'];
    const above = (parents ?? []).map(pathInBackup);
    if (above.length > 0) await bring(above, own);
    await bring(wanted, ['--recursive', ...own]);
    // Their times were right until something was made in them.
    if (above.length > 0) await bring(above, own);
    return { bytes: tally.bytes, files: tally.files, unreadable: tally.unreadable.paths };
  }

  async #transfer(
    args: readonly string[],
    context: {
      request: { signal: AbortSignal; onProgress: (progress: CopyProgress) => void };
      tally: Tally;
      toLivePath: ToLivePath;
      /** Where what is copied lies in the backup. */
      inside?: string;
      under?: readonly string[] | undefined;
    },
    input?: Uint8Array,
  ): Promise<void> {
    const { request, tally, toLivePath } = context;
    const start = { bytes: tally.bytes, files: tally.files };
    const isLinking = args.some((arg) => arg.startsWith('--link-dest='));
    let complaints = 0;
    let full = false;
    const result = await this.#run(under(context.under, 'rsync', [...FAITHFUL, ...TALKATIVE, ...args]), {
      signal: request.signal,
      carriageReturns: true,
      untilTaken: () => tally.digests?.log.untilTaken(),
      ...(input === undefined ? {} : { input }),
      onStdoutLine: (line) => {
        if (line.startsWith('@')) {
          const record = parseDigestLine(line, context.inside ?? '');
          if (record !== undefined) tally.digests?.log.add(formatRecord(record));
          return;
        }
        const progress = parseProgress(line);
        if (progress === undefined) return;
        tally.bytes = start.bytes + (progress.bytes ?? 0);
        tally.files = start.files + (progress.files ?? tally.files - start.files);
        const { totalBytes, totalFiles } = progress;
        request.onProgress({
          bytes: tally.bytes,
          files: tally.files,
          // Files that are linked from another backup are in the total and never in what was copied.
          ...(totalBytes === undefined || isLinking ? {} : { totalBytes: start.bytes + totalBytes }),
          ...(totalFiles === undefined ? {} : { totalFiles: start.files + totalFiles }),
        });
      },
      onStderrLine: (line) => {
        const complaint = parseComplaint(line);
        if (complaint?.kind === 'full') full = true;
        if (complaint?.kind !== 'path') return;
        complaints += 1;
        tally.unreadable.add(toLivePath(complaint.path));
      },
    });
    requireSuccess(result, { complaints, full });
    const stats = parseStats(result.stdout);
    tally.bytes = start.bytes + stats.bytes;
    tally.files = start.files + stats.files;
  }
}

/** Translates what rsync names: a path below one of `roots`, or one relative to `base`. */
function livePaths(roots: Readonly<Record<string, string>>, base: string): ToLivePath {
  return (found) => {
    for (const [root, live] of Object.entries(roots)) {
      if (found === root || found.startsWith(`${root}/`)) return path.join(live, found.slice(root.length));
    }
    return found.startsWith('/') ? found : path.join(base, found);
  };
}

function requireSuccess(result: CommandResult, told: { complaints: number; full: boolean }): void {
  if (result.exitCode === 0) return;
  const { exitCode } = result;
  // A full target is no matter of single files, although rsync goes on to the next.
  if (exitCode !== undefined && PARTIAL.has(exitCode) && told.complaints > 0 && !told.full) return;
  throw copyFailure('rsync', result, exitCode !== undefined && CONNECTION.has(exitCode));
}

/**
 * Copies into a plain directory tree: `/srv` becomes `<data>/srv`. Files that did not change since the parent backup
 * are hard links to it. Hard links between files of different sources become separate files; immutable and
 * append-only flags are not kept.
 */
export function createRsyncEngine(run: typeof runCommand = runCommand): CopyEngine {
  return new RsyncEngine(run);
}
