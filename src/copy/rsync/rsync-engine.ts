import { existsSync } from 'node:fs';
import path from 'node:path';
import { runCommand } from '../../system/run-command.js';
import { showReadOnly } from '../../system/show-read-only.js';
import { isRefusal, withCopyErrors } from '../copy-error.js';
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
} from '../engine.js';
import { makeInside } from '../make-inside.js';
import { makeParents, setParentTimes } from '../parent-directories.js';
import { beginCopy, Resumption, type ResumeTrees } from './resumption.js';
import { compareChanged, type CopyPlace } from './rsync-compare.js';
import { asBytes, chooseChecksum } from './rsync-digests.js';
import { checkRestoredByRsync } from './rsync-check-restored.js';
import { linkingFrom, readAnew, takenAt, type Linking } from './rsync-linking.js';
import { LocalTrees } from './rsync-local-trees.js';
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
import { deepestFirst, pathInBackup, requireSources } from '../source-layout.js';

function placeIn(dataDirectory: string, source: CopySource, run: typeof runCommand): CopyPlace {
  const destination = path.join(dataDirectory, pathInBackup(source.path));
  const toLivePath = livePaths({ [source.readFrom]: source.path, [destination]: source.path }, source.path);
  return { destination, directory: destination, run, args: [], toLivePath };
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
    return withCopyErrors(async () => {
      const { digests, dataDirectory } = request;
      const trees = new LocalTrees(dataDirectory, this.#run);
      const resumption =
        digests === undefined
          ? undefined
          : new Resumption(request, {
              file: digests.file,
              algorithm: await chooseChecksum(this.#run),
              trees,
            });
      try {
        return await this.#copy(request, trees, resumption);
      } catch (error) {
        // Nothing goes on from what a full or broken disk refused; whoever began the backup then removes all of it.
        if (isRefusal(error)) await resumption?.end();
        throw error;
      }
    });
  }

  async #copy(
    request: CopyRequest,
    trees: ResumeTrees,
    resumption: Resumption | undefined,
  ): Promise<CopyResult> {
    const { dataDirectory, sources, digests, parentDataDirectory: parent } = request;
    await requireSources(sources);
    const trusted = await beginCopy(trees, resumption);
    if (parent !== undefined) {
      const { parentOrigins: origins, parentBackupId } = request;
      trusted.push({ directory: parent, takenAt: takenAt(parentBackupId), origins });
    }
    const anew = readAnew(sources, trusted);
    const taking = resumption && digests && takeDigests(sources, digests, resumption.algorithm);
    const linking = linkingFrom(trusted, {
      // Without digests nobody knows what was read.
      byContent: request.isParentDoubtful === true || taking === undefined,
      now: new Date(),
    });
    await makeParents(dataDirectory, sources, request.signal);

    const tally = newTally(taking);
    const copyAll = async (): Promise<void> => {
      for (const source of deepestFirst(sources)) {
        const { from, byContent } = linking;
        const how = { from, byContent: byContent || anew.has(source.path) };
        await this.#copySource(source, request, how, tally);
      }
    };
    // Also of an attempt that failed: the next one does not read again what this one copied.
    await (taking === undefined ? copyAll() : taking.log.closeAfter(copyAll));
    if (taking !== undefined && linking.since !== undefined) {
      const placeOf = (source: CopySource): CopyPlace => placeIn(dataDirectory, source, this.#run);
      await compareChanged({ request, tally, taking, since: linking.since, placeOf }, this.#run);
    }
    await setParentTimes(dataDirectory, sources);
    await resumption?.settle(parent === undefined ? undefined : { list: taking?.parentList });
    const [result] = await Promise.all([
      resultOf(tally),
      // The sync before the manifest then finds little left to write; it is told of all that fails here, as of all before it.
      this.#run(['sync', '--file-system', '--', dataDirectory], { signal: request.signal }),
    ]);
    await trees.forget();
    await resumption?.end();
    return result;
  }

  async #copySource(
    source: CopySource,
    request: CopyRequest,
    { from, byContent }: Pick<Linking, 'from' | 'byContent'>,
    tally: Tally,
  ): Promise<void> {
    const inside = pathInBackup(source.path);
    const { destination, toLivePath } = placeIn(request.dataDirectory, source, this.#run);
    await makeInside(destination);
    const links = from
      .map((directory) => path.join(directory, inside))
      .filter((directory) => existsSync(directory));
    await transfer(
      [
        ...copyArguments(source, request.sources, { links, tally, compare: byContent }),
        `${source.readFrom}/`,
        `${destination}/`,
      ],
      {
        request,
        tally,
        inside: asBytes(inside),
        toLivePath,
        trees: { from: source.readFrom, to: destination },
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
