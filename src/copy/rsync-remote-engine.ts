import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { targetName, type BackupTarget, type RepositorySettings } from '../backup-target.js';
import { FsbackupError } from '../errors.js';
import { runCommand } from '../system/run-command.js';
import { isRefusal, withCopyErrors } from './copy-error.js';
import { noDifferences } from './digest-compare.js';
import type {
  CheckRestoredRequest,
  CopyEngine,
  CopyRequest,
  CopyResult,
  CopySource,
  RemoveRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from './engine.js';
import type { FoundBackup } from './found-backup.js';
import { makeParents, setParentTimes } from './parent-directories.js';
import { ReferenceFile } from './reference.js';
import { removeTree } from './remove-tree.js';
import { withSecrets } from './repository-program.js';
import { checkRestoredByRsync } from './rsync-check-restored.js';
import { asBytes, chooseChecksum } from './rsync-digests.js';
import { foundBackupOf, listBytesOf, noteOf } from './rsync-remote-found.js';
import { beginCopy, Resumption, type ResumeTrees } from './resumption.js';
import { RsyncRemoteStore } from './rsync-remote-store.js';
import { restoreRsync, type StoredTree } from './rsync-restore.js';
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
import { deepestFirst, parentsOf, pathInBackup, requireSources, topmost } from './source-layout.js';
import { joinShellCommand, parseSshPlace, rsyncName, SshClient, type SshPlace } from '../system/ssh-place.js';

const reference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    job: z.string().min(1),
    backupId: z.string().min(1),
    /** Of one that was found there: how large its list of digests is at most. */
    listBytes: z.number().exactOptional(),
  }),
);

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/** The variable's text; rsync reads it in this process's words too. */
function remoteShell({ environment }: RepositorySettings): string {
  const shell = environment['RSYNC_RSH'] ?? 'ssh';
  if (typeof shell === 'string') return shell;
  throw usage(
    'RSYNC_RSH is no secret: it is among the arguments that everybody sees',
    'Write it as a text; keys belong into files that it names.',
  );
}

function placeOf(target: BackupTarget): SshPlace {
  const { repository } = target;
  const place = repository === undefined ? undefined : parseSshPlace(repository.repository);
  if (repository === undefined || place === undefined) {
    throw usage(
      `${targetName(target)} is no directory that rsync can reach by ssh`,
      'Write it as ssh://user@host/srv/backups or user@host:/srv/backups, with an absolute path.',
    );
  }
  if (repository.password !== undefined || repository.options !== undefined) {
    throw usage(
      `${targetName(target)}: rsync knows no password and no options`,
      'ssh comes in with a key: name it in ~/.ssh/config of root, or in RSYNC_RSH of `environment`.',
    );
  }
  return place;
}

/** What unchanged files are linked from. */
interface Linking {
  /** Trees there. */
  from: readonly string[];
  /** What is unchanged is found out by reading it, at both ends. */
  byContent: boolean;
}

class RsyncRemoteEngine implements CopyEngine {
  readonly name = 'rsync';
  readonly restoresInPlace = true;
  readonly #place: SshPlace;
  readonly #store: RsyncRemoteStore;
  readonly #run: typeof runCommand;

  constructor(target: BackupTarget, run: typeof runCommand) {
    const { repository: settings } = target;
    this.#place = placeOf(target);
    if (settings === undefined) throw new Error('rsync was given no place');
    const ssh = new SshClient(this.#place, remoteShell(settings));
    const environment = { ...settings.environment, RSYNC_RSH: joinShellCommand(ssh.words) };
    // There is no password: no variable gets one.
    this.#run = withSecrets({ settings: { ...settings, environment }, password: '' }, run);
    this.#store = new RsyncRemoteStore({ place: this.#place, ssh, name: targetName(target) }, this.#run);
  }

  async preflight(): Promise<Record<string, string>> {
    return await checkRsync(this.#run);
  }

  async openRepository({
    initialise,
    signal,
  }: {
    initialise: boolean;
    signal?: AbortSignal;
  }): Promise<string> {
    const id = await this.#store.open(initialise, signal);
    await checkRsync(this.#store.runThere, `at ${this.#place.login}`);
    return id;
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { digests, backup, signal } = request;
      const trees = this.#store.treesOf(backup, signal);
      const resumption =
        digests === undefined
          ? undefined
          : new Resumption(request, { file: digests.file, algorithm: await this.#checksum(), trees });
      try {
        return await this.#copy(request, trees, resumption);
      } catch (error) {
        // What was broken off is gone on with. Of what a full or broken disk refused nothing is to stay on it.
        if (isRefusal(error)) {
          await resumption?.end();
          await this.#store.abandon(backup).catch(() => undefined);
        }
        throw error;
      }
    });
  }

  async #copy(
    request: CopyRequest,
    trees: ResumeTrees,
    resumption: Resumption | undefined,
  ): Promise<CopyResult> {
    const { sources, backup, signal, dataDirectory, digests } = request;
    await requireSources(sources);
    const linking = await this.#linking(request, await beginCopy(trees, resumption));
    const taking = resumption && digests && takeDigests(sources, digests, resumption.algorithm);
    const tally = newTally(taking);
    const copyAll = async (): Promise<void> => {
      await this.#sendParents(sources, request);
      for (const source of deepestFirst(sources)) await this.#copySource(source, request, linking, tally);
    };
    await (taking === undefined ? copyAll() : taking.log.closeAfter(copyAll));
    // The times of those that lie in no source, now that nothing is made in them any more.
    const outermost = topmost(sources.map((source) => source.path));
    await this.#sendParents(
      sources.filter((source) => outermost.includes(source.path)),
      request,
    );
    const hasParent = request.parentDataDirectory !== undefined || linking.byContent;
    await resumption?.settle(hasParent ? { list: taking?.parentList } : undefined);
    const result = await resultOf(tally);
    const note = await noteOf(request, result);
    // From now on there may be a backup there of which nobody has heard.
    await reference.announce(dataDirectory);
    await this.#store.publish(backup, { note, list: result.digests && digests?.file }, signal);
    await reference.write(dataDirectory, { version: 1, job: backup.job, backupId: backup.backupId });
    await resumption?.end();
    return result;
  }

  /** What unchanged files are to be linked from: `resumed`, what of a copy was broken off, and the last backup. */
  async #linking(
    { backup, signal, parentDataDirectory, isParentDoubtful }: CopyRequest,
    resumed: readonly string[],
  ): Promise<Linking> {
    if (parentDataDirectory !== undefined) {
      const parent = this.#store.directoryOf(await reference.read(parentDataDirectory));
      return { from: [...resumed, parent], byContent: isParentDoubtful === true };
    }
    const last = await this.#store.findLast(backup, signal);
    // Of another host, or of this one's life before: that size and time are the same proves nothing of the content.
    return { from: [...resumed, ...(last === undefined ? [] : [last])], byContent: last !== undefined };
  }

  /** The fastest digest that both ends have. */
  async #checksum(): Promise<'xxh128' | 'md5'> {
    const here = await chooseChecksum(this.#run);
    return here === 'md5' ? 'md5' : await chooseChecksum(this.#store.runThere);
  }

  /** The directories above the sources, with what they have on the live system. */
  async #sendParents(sources: readonly CopySource[], request: CopyRequest): Promise<void> {
    if (sources.every((source) => parentsOf(source.path).length === 0)) return;
    const { dataDirectory, signal, backup } = request;
    const skeleton = path.join(dataDirectory, 'parents');
    // What an attempt that was killed left.
    await removeTree(skeleton);
    await mkdir(skeleton, { mode: 0o700 });
    await makeParents(skeleton, sources);
    await setParentTimes(skeleton, sources);
    const incomplete = this.#store.incompleteOf(backup);
    await transfer(
      ['-s', `${skeleton}/`, `${this.#at(incomplete)}/`],
      {
        request: { signal, onProgress: () => undefined },
        tally: newTally(),
        toLivePath: livePaths({ [skeleton]: '/', [incomplete]: '/' }, '/'),
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
    request: CopyRequest,
    { from, byContent }: Linking,
    tally: Tally,
  ): Promise<void> {
    const inside = pathInBackup(source.path);
    const destination = path.join(this.#store.incompleteOf(request.backup), inside);
    const links = from.map((directory) => path.join(directory, inside));
    await transfer(
      [
        '-s',
        // Of a large file that was half sent the rest is enough, the next time.
        `--partial-dir=${this.#store.incompleteOf(request.backup)}+partial`,
        ...copyArguments(source, request.sources, { links, tally, compare: byContent }),
        `${source.readFrom}/`,
        `${this.#at(destination)}/`,
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

  /** Undefined for one that is not there any more. */
  async #find(dataDirectory: string, signal: AbortSignal): Promise<StoredTree | undefined> {
    const backup = await reference.read(dataDirectory);
    if (!(await this.#store.exists(backup, signal))) return undefined;
    const directory = this.#store.directoryOf(backup);
    return { directory, readFrom: this.#at(directory), args: ['-s'], runThere: this.#store.runThere };
  }

  async #stored(dataDirectory: string, signal: AbortSignal): Promise<StoredTree> {
    const found = await this.#find(dataDirectory, signal);
    if (found !== undefined) return found;
    throw new FsbackupError('copyFailed', 'the backup is not there any more', {
      hint: `See who removed it at ${this.#place.login}; \`fsbackup backups list\` shows the others.`,
    });
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () =>
      restoreRsync(request, await this.#stored(request.dataDirectory, request.signal), this.#run),
    );
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const tree = await this.#find(request.dataDirectory, request.signal);
      if (tree !== undefined) return await verifyRsync(request, tree, this.#run);
      const problems = ['it is not there any more'];
      return { ...noDifferences(), files: undefined, bytes: 0, problems };
    });
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () =>
      checkRestoredByRsync(request, await this.#stored(request.dataDirectory, request.signal), this.#run),
    );
  }

  async remove({ dataDirectory, backup, signal }: RemoveRequest): Promise<void> {
    if (!(await reference.mayExist(dataDirectory))) return;
    await this.#store.remove(backup, signal);
  }

  find(signal: AbortSignal): Promise<FoundBackup[]> {
    return withCopyErrors(async () =>
      (await this.#store.find(signal)).map((remote) => {
        const { job, backupId } = remote;
        const listBytes = listBytesOf(remote);
        const found = {
          version: 1,
          job,
          backupId,
          ...(listBytes === undefined ? {} : { listBytes }),
        } as const;
        return {
          ...foundBackupOf(remote),
          writeReference: (dataDirectory) => reference.write(dataDirectory, found),
        };
      }),
    );
  }

  fetchDigests({
    dataDirectory,
    file,
    signal,
  }: {
    dataDirectory: string;
    file: string;
    signal: AbortSignal;
  }): Promise<boolean> {
    return withCopyErrors(async () => {
      const { listBytes = 0, ...backup } = await reference.read(dataDirectory);
      return await this.#store.fetchList(backup, { file, sizeBytes: listBytes }, signal);
    });
  }
}

/**
 * Copies into a directory of another host, over ssh: the same tree as in one of this host, unchanged files hard-linked to
 * the parent backup there. What is broken off stays there as incomplete, and the next copy of the job goes on from it,
 * in this run or a later one. Content is read, and digests are made, at that end when it is verified.
 */
export function createRsyncRemoteEngine(
  target: BackupTarget,
  run: typeof runCommand = runCommand,
): CopyEngine {
  return new RsyncRemoteEngine(target, run);
}
