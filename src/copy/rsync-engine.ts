import { existsSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { runCommand } from '../system/run-command.js';
import { showReadOnly } from '../system/show-read-only.js';
import { withCopyErrors } from './copy-error.js';
import type {
  CheckRestoredRequest,
  CopyEngine,
  CopyRequest,
  CopyResult,
  CopySource,
  MountRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from './engine.js';
import { makeParents, setParentTimes } from './parent-directories.js';
import { removeTree } from './remove-tree.js';
import { asBytes, chooseChecksum } from './rsync-digests.js';
import { checkRestoredByRsync } from './rsync-check-restored.js';
import { localTree, restoreRsync } from './rsync-restore.js';
import {
  copyArguments,
  livePaths,
  newTally,
  resultOf,
  takeDigests,
  transfer,
  type Tally,
} from './rsync-transfer.js';
import { checkRsync } from './rsync-version.js';
import { verifyRsync } from './rsync-verify.js';
import { deepestFirst, pathInBackup, requireSources } from './source-layout.js';

/** rsync takes at most 20 `--link-dest`; the parent needs one. */
const MAX_EARLIER = 8;

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

    const taking =
      request.digests === undefined
        ? undefined
        : takeDigests(sources, request.digests, await chooseChecksum(this.#run));
    const tally = newTally(taking);
    const copyAll = async (): Promise<void> => {
      for (const source of deepestFirst(sources)) await this.#copySource(source, request, linkFrom, tally);
    };
    // Also of an attempt that failed: the next one does not read again what this one copied.
    await (taking === undefined ? copyAll() : taking.log.closeAfter(copyAll));
    await setParentTimes(dataDirectory, sources);
    for (const directory of earlier) await removeTree(directory);
    const [result] = await Promise.all([
      resultOf(tally),
      // The sync before the manifest, which tells of failures, then finds little left to write.
      this.#run(['sync', '--file-system', '--', dataDirectory], { signal: request.signal }),
    ]);
    return result;
  }

  async #copySource(
    source: CopySource,
    request: CopyRequest,
    linkFrom: readonly string[],
    tally: Tally,
  ): Promise<void> {
    const inside = pathInBackup(source.path);
    const destination = path.join(request.dataDirectory, inside);
    const compare = request.isParentDoubtful === true;
    await mkdir(destination, { recursive: true, mode: 0o700 });
    const links = linkFrom
      .map((directory) => path.join(directory, inside))
      .filter((directory) => existsSync(directory));
    await transfer(
      [
        ...copyArguments(source, request.sources, { links, tally, compare }),
        `${source.readFrom}/`,
        `${destination}/`,
      ],
      {
        request,
        tally,
        inside: asBytes(inside),
        toLivePath: livePaths({ [source.readFrom]: source.path, [destination]: source.path }, source.path),
      },
      this.#run,
    );
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => verifyRsync(request, localTree(request.dataDirectory), this.#run));
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => checkRestoredByRsync(request, localTree(request.dataDirectory), this.#run));
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(() => restoreRsync(request, localTree(request.dataDirectory), this.#run));
  }
}

/**
 * Copies into a plain directory tree: `/srv` becomes `<data>/srv`. Files that did not change since the parent backup
 * are hard links to it. Hard links between files of different sources become separate files; immutable and
 * append-only flags are not kept.
 */
export function createRsyncEngine(run: typeof runCommand = runCommand): CopyEngine {
  return new RsyncEngine(run);
}
