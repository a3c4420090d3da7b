import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { runCommand } from '../../system/run-command.js';
import { rsyncName, type SshPlace } from '../../system/ssh-place.js';
import { isRefusal, withCopyErrors } from '../copy-error.js';
import type { CopyRequest, CopyResult, CopySource } from '../engine.js';
import { makeParents, setParentTimes } from '../parent-directories.js';
import { removeTree } from '../remove-tree.js';
import { beginCopy, Resumption, type ResumeTrees } from '../rsync/resumption.js';
import { compareChanged, type CopyPlace } from '../rsync/rsync-compare.js';
import { asBytes, chooseChecksum } from '../rsync/rsync-digests.js';
import { linkingFrom, readAnew, takenAt, type LinkedTree, type Linking } from '../rsync/rsync-linking.js';
import type { RemoteAttempt } from './rsync-remote-attempt.js';
import { noteOf } from './rsync-remote-found.js';
import { remoteReference } from './rsync-remote-reference.js';
import type { RsyncRemoteStore } from './rsync-remote-store.js';
import {
  copyArguments,
  livePaths,
  newTally,
  resultOf,
  takeDigests,
  transfer,
  type Tally,
} from '../rsync/rsync-transfer.js';
import { deepestFirst, parentsOf, pathInBackup, requireSources, topmost } from '../source-layout.js';

/** An attempt, and what it can go on with. */
interface Going {
  attempt: RemoteAttempt;
  trees: ResumeTrees;
  resumption: Resumption | undefined;
}

/** Copies into a directory of another host: what of the rsync engine sends. */
export class RsyncRemoteCopy {
  readonly #place: SshPlace;
  readonly #store: RsyncRemoteStore;
  readonly #run: typeof runCommand;

  constructor(there: { place: SshPlace; store: RsyncRemoteStore }, run: typeof runCommand) {
    this.#place = there.place;
    this.#store = there.store;
    this.#run = run;
  }

  /** Copies, and publishes what was copied as a backup. Rejects as an engine's `copy` does. */
  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { digests, backup, signal } = request;
      const attempt = this.#store.attempt(backup);
      const trees = attempt.trees(signal);
      const resumption =
        digests === undefined
          ? undefined
          : new Resumption(request, { file: digests.file, algorithm: await this.#checksum(), trees });
      try {
        return await this.#copy(request, { attempt, trees, resumption });
      } catch (error) {
        // What was broken off is gone on with. Of what a full or broken disk refused nothing is to stay on it.
        if (isRefusal(error)) {
          await resumption?.end();
          await attempt.abandon().catch(() => undefined);
        }
        throw error;
      }
    });
  }

  async #copy(request: CopyRequest, { attempt, trees, resumption }: Going): Promise<CopyResult> {
    const { sources, backup, signal, dataDirectory, digests } = request;
    await requireSources(sources);
    const resumed = await beginCopy(trees, resumption);
    const parent = await this.#parent(request);
    const taking = resumption && digests && takeDigests(sources, digests, resumption.algorithm);
    const linked = [...resumed, ...parent];
    const anew = readAnew(sources, linked);
    const linking = linkingFrom(linked, {
      // Without digests nobody knows what was read.
      byContent: request.isParentDoubtful === true || taking === undefined,
      now: new Date(),
    });
    const tally = newTally(taking);
    const copyAll = async (): Promise<void> => {
      await this.#sendParents(sources, request, attempt);
      for (const source of deepestFirst(sources)) {
        const { from, byContent } = linking;
        const how = { from, byContent: byContent || anew.has(source.path) };
        await this.#copySource(source, { request, attempt }, how, tally);
      }
    };
    await (taking === undefined ? copyAll() : taking.log.closeAfter(copyAll));
    if (taking !== undefined && linking.since !== undefined) {
      const placeOf = (source: CopySource): CopyPlace => this.#placeOf(source, attempt);
      await compareChanged({ request, tally, taking, since: linking.since, placeOf }, this.#run);
    }
    // The times of those that lie in no source, now that nothing is made in them any more.
    const outermost = topmost(sources.map((source) => source.path));
    await this.#sendParents(
      sources.filter((source) => outermost.includes(source.path)),
      request,
      attempt,
    );
    await resumption?.settle(parent.length > 0 ? { list: taking?.parentList } : undefined);
    const result = await resultOf(tally);
    const note = await noteOf(request, result);
    // From now on there may be a backup there of which nobody has heard.
    await remoteReference.announce(dataDirectory);
    const list = result.digests && digests?.file;
    await attempt.publish({ note, list }, signal, request.limitBytesPerSecond);
    await remoteReference.write(dataDirectory, { version: 1, job: backup.job, backupId: backup.backupId });
    await resumption?.end();
    return result;
  }

  /** The last backup, to link from. */
  async #parent({
    backup,
    signal,
    parentDataDirectory,
    parentBackupId,
    parentOrigins: origins,
  }: CopyRequest): Promise<LinkedTree[]> {
    if (parentDataDirectory !== undefined) {
      const directory = this.#store.directoryOf(await remoteReference.read(parentDataDirectory));
      return [{ directory, takenAt: takenAt(parentBackupId), origins }];
    }
    const last = await this.#store.findLast(backup, signal);
    // Of another host, or of this one's life before: no time of this host tells what changed since then.
    return last === undefined ? [] : [{ directory: last, takenAt: undefined }];
  }

  /** The fastest digest that both ends have. */
  async #checksum(): Promise<'xxh128' | 'md5'> {
    const here = await chooseChecksum(this.#run);
    return here === 'md5' ? 'md5' : await chooseChecksum(this.#store.runThere);
  }

  /** The directories above the sources, with what they have on the live system. */
  async #sendParents(
    sources: readonly CopySource[],
    { dataDirectory, signal, limitBytesPerSecond }: CopyRequest,
    { tree }: RemoteAttempt,
  ): Promise<void> {
    if (sources.every((source) => parentsOf(source.path).length === 0)) return;
    const skeleton = path.join(dataDirectory, 'parents');
    // What an attempt that was killed left.
    await removeTree(skeleton);
    await mkdir(skeleton, { mode: 0o700 });
    await makeParents(skeleton, sources, signal);
    await setParentTimes(skeleton, sources);
    await transfer(
      ['-s', `${skeleton}/`, `${this.#at(tree)}/`],
      {
        request: { signal, limitBytesPerSecond, onProgress: () => undefined },
        tally: newTally(),
        toLivePath: livePaths({ [skeleton]: '/', [tree]: '/' }, '/'),
      },
      this.#run,
    );
    await removeTree(skeleton);
  }

  #at(directory: string): string {
    return rsyncName(this.#place, directory);
  }

  async #copySource(
    source: CopySource,
    { request, attempt }: { request: CopyRequest; attempt: RemoteAttempt },
    { from, byContent }: Pick<Linking, 'from' | 'byContent'>,
    tally: Tally,
  ): Promise<void> {
    const inside = pathInBackup(source.path);
    const { destination, directory, args, toLivePath } = this.#placeOf(source, attempt);
    const links = from.map((one) => path.join(one, inside));
    await transfer(
      [
        ...args,
        ...copyArguments(source, request.sources, { links, tally, compare: byContent }),
        `${source.readFrom}/`,
        `${destination}/`,
      ],
      {
        request,
        tally,
        inside: asBytes(inside),
        toLivePath,
        trees: { from: source.readFrom, to: directory },
      },
      this.#run,
    );
  }

  #placeOf(source: CopySource, { tree, partial }: RemoteAttempt): CopyPlace {
    const directory = path.join(tree, pathInBackup(source.path));
    return {
      destination: this.#at(directory),
      directory,
      run: this.#store.runThere,
      // Of a large file that was half sent the rest is enough, the next time.
      args: ['-s', `--partial-dir=${partial}`],
      toLivePath: livePaths({ [source.readFrom]: source.path, [directory]: source.path }, source.path),
    };
  }
}
