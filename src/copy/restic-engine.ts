import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { FsbackupError } from '../errors.js';
import { runDirectory } from '../system/directories.js';
import { runCommand } from '../system/run-command.js';
import { copyStopped, UnreadablePaths, withCopyErrors } from './copy-error.js';
import { noDifferences } from './digest-compare.js';
import type {
  CopyEngine,
  CopyRequest,
  CopyResult,
  RemoveRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from './engine.js';
import { prepareMergedTree, type MergedTree } from './merged-tree.js';
import { printable } from './printable.js';
import { ReferenceFile } from './reference.js';
import { withSecrets } from './repository-program.js';
import { readRootAttributes, rootAttributes } from './root-attributes.js';
import { RetryWatch } from './retry-watch.js';
import { literalForRestic, resticExcludes } from './restic-excludes.js';
import { parseIgnored, parseMessage } from './restic-output.js';
import { ResticRepository, resticTags } from './restic-repository.js';
import { requireSources } from './source-layout.js';
import { restoreStaged } from './staged-restore.js';
import { targetName, type BackupTarget, type RepositorySettings } from '../backup-target.js';

/** restic's exit code for a snapshot that lacks what could not be read. */
const PARTIAL = 3;
/** restic itself would try for a quarter of an hour, again and again. */
const PATIENCE_MS = 5 * 60_000;
/** What a check tells of damage is bounded by it. */
const MAX_PROBLEMS = 100;

const reference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    /** The id of the snapshot in the repository. */
    snapshot: z.string().min(1),
    /** The id of its content: the digest of all that is in it. */
    tree: z.string().min(1),
    /** Of `/`, where that is a source: restic has no place for them. */
    root: rootAttributes.exactOptional(),
  }),
);

/** What the engine works with beside the settings of its target. */
export interface ResticDependencies {
  run?: typeof runCommand;
  /** Where the sources are merged: below it a directory for each job, the same in every run. */
  treeDirectory?: string;
  /** How long restic may try to get its connection back. */
  patienceMs?: number;
}

/** A path that restic told, as on the live system. */
function toLivePath(item: string, tree: string): string {
  const inside = item === tree || item.startsWith(`${tree}/`) ? item.slice(tree.length) : item;
  return printable(Buffer.from(inside === '' ? '/' : inside, 'utf8').toString('latin1'));
}

/** A REST server's credentials, which restic before 0.17 takes in the URL alone. It reaches restic by its environment. */
function repositoryVariable(
  { repository }: RepositorySettings,
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  const { RESTIC_REST_USERNAME: user, RESTIC_REST_PASSWORD: password } = env;
  const url = /^(rest:https?:\/\/)(?:[^/@]*@)?(.*)$/.exec(repository);
  if (url === null || user === undefined || password === undefined) return { RESTIC_REPOSITORY: repository };
  const credentials = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
  return { RESTIC_REPOSITORY: `${url[1] ?? ''}${credentials}@${url[2] ?? ''}` };
}

class ResticEngine implements CopyEngine {
  readonly name = 'restic';
  readonly #repository: ResticRepository;
  readonly #run: typeof runCommand;
  readonly #treeDirectory: string;
  readonly #patienceMs: number;

  constructor(
    target: BackupTarget,
    { run = runCommand, treeDirectory, patienceMs = PATIENCE_MS }: ResticDependencies,
  ) {
    const { repository: settings } = target;
    if (settings === undefined) throw new Error('restic was given no repository');
    const options = Object.entries(settings.options ?? {}).map(([key, value]) => `--option=${key}=${value}`);
    const withEnvironment = withSecrets(
      { settings, password: 'RESTIC_PASSWORD', derive: (env) => repositoryVariable(settings, env) },
      run,
    );
    this.#run = run;
    this.#patienceMs = patienceMs;
    this.#repository = new ResticRepository(withEnvironment, targetName(target), options);
    this.#treeDirectory = treeDirectory ?? path.join(runDirectory(), 'tree');
  }

  async preflight(): Promise<Record<string, string>> {
    return { restic: await this.#repository.version() };
  }

  openRepository({ initialise, signal }: { initialise: boolean; signal?: AbortSignal }): Promise<string> {
    return this.#repository.open(initialise, signal);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { sources, dataDirectory, backup } = request;
      await requireSources(sources);
      const directory = path.join(this.#treeDirectory, backup.job);
      const tree = await prepareMergedTree(directory, sources, dataDirectory);
      try {
        return await this.#backUp(request, tree, directory);
      } finally {
        await tree.remove();
      }
    });
  }

  async #backUp(request: CopyRequest, tree: MergedTree, directory: string): Promise<CopyResult> {
    const { dataDirectory, sources, backup, signal } = request;
    // An earlier attempt's, whose success nobody heard of.
    await this.remove({ dataDirectory, backup, signal });
    const argv = this.#repository.argv(
      'backup',
      '--json',
      '--one-file-system',
      `--host=${os.hostname()}`,
      ...resticTags(backup).map((tag) => `--tag=${tag}`),
      ...resticExcludes(sources, directory).map((pattern) => `--exclude=${pattern}`),
      '--',
      ...tree.names,
    );
    const unreadable = new UnreadablePaths();
    const watch = new RetryWatch(this.#patienceMs, signal);
    let done: { files: number; bytes: number } | undefined;
    await reference.announce(dataDirectory);
    const result = await this.#repository.run(tree.inTree(argv), {
      signal: watch.signal,
      onStdoutLine: (line) => {
        const said = parseMessage(line);
        if (said?.message_type === 'status') {
          const {
            bytes_done: bytes,
            files_done: files,
            total_bytes: totalBytes,
            total_files: totalFiles,
          } = said;
          watch.did(bytes);
          request.onProgress({
            bytes,
            files,
            ...(totalBytes === undefined ? {} : { totalBytes }),
            ...(totalFiles === undefined ? {} : { totalFiles }),
          });
        } else if (said?.message_type === 'summary') {
          done = { files: said.total_files_processed, bytes: said.total_bytes_processed };
        }
      },
      onStderrLine: (line) => {
        watch.said(line);
        const said = parseMessage(line);
        if (said?.message_type === 'error' && said.item !== '')
          unreadable.add(toLivePath(said.item, directory));
      },
    });
    watch.end();
    const isPartial = result.exitCode === PARTIAL && unreadable.paths.length > 0;
    if ((result.exitCode !== 0 && !isPartial) || done === undefined) {
      // restic that ends by itself with an error has saved no snapshot, nor has one that reached nobody for so long.
      const endedItself = result.exitCode !== undefined && !signal.aborted && done === undefined;
      if (endedItself || watch.gaveUp) await reference.withdraw(dataDirectory);
      if (signal.aborted) throw copyStopped();
      throw this.#repository.failure({ ...result, aborted: false }, watch.gaveUp);
    }
    request.onProgress(done);
    const snapshot = (await this.#repository.snapshotsOf(backup, signal)).at(-1);
    if (snapshot === undefined) {
      throw new FsbackupError('copyFailed', 'restic made a snapshot that its repository does not have', {
        hint: 'See whether somebody else removes snapshots (`restic forget`) meanwhile, and run it again.',
      });
    }
    const root = await readRootAttributes(sources);
    const { id, tree: content } = snapshot;
    await reference.write(dataDirectory, {
      version: 1,
      snapshot: id,
      tree: content,
      ...(root === undefined ? {} : { root }),
    });
    return { ...done, unreadable: unreadable.paths };
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { snapshot, root } = await reference.read(request.dataDirectory);
      return await restoreStaged(
        { ...request, ...(root === undefined ? {} : { root }) },
        {
          run: this.#run,
          extract: async ({ staged, paths, unreadable }) => {
            const sparse = (await this.#repository.canMakeHoles()) ? ['--sparse'] : [];
            const argv = this.#repository.argv(
              'restore',
              ...sparse,
              '--json',
              `--target=${staged}`,
              ...paths.map((one) => `--include=${literalForRestic(one)}`),
              '--',
              snapshot,
            );
            let complaints = 0;
            const result = await this.#repository.run(argv, {
              signal: request.signal,
              onStdoutLine: (line) => {
                const said = parseMessage(line);
                if (said?.message_type !== 'status') return;
                request.onProgress({ bytes: said.bytes_restored ?? 0, files: said.files_restored ?? 0 });
              },
              onStderrLine: (line) => {
                const lost = parseIgnored(line);
                if (lost === undefined) return;
                complaints += 1;
                unreadable.add(toLivePath(lost, staged));
              },
            });
            const isPartial =
              result.exitCode === 1 && complaints > 0 && /There were \d+ errors/.test(result.stderr);
            if (result.exitCode !== 0 && !isPartial) throw this.#repository.failure(result);
          },
        },
      );
    });
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { mode, signal, dataDirectory } = request;
      const { snapshot, tree } = await reference.read(dataDirectory);
      const found = await this.#repository.find(snapshot, signal);
      const problems: string[] = [];
      if (found === undefined) problems.push(`the repository has no snapshot ${snapshot}`);
      else if (found.tree !== tree) problems.push(`the snapshot ${snapshot} is not what was written`);
      await this.#repository.removeStaleLocks();
      const args = mode === 'full' ? ['check', '--read-data'] : ['check'];
      const result = await this.#repository.run(this.#repository.argv(...args), { signal });
      if (signal.aborted) throw copyStopped();
      if (result.exitCode !== 0) problems.push(...this.#repository.damage(result).slice(0, MAX_PROBLEMS));
      return { ...noDifferences(), files: undefined, bytes: 0, problems };
    });
  }

  async remove({ dataDirectory, backup, signal }: RemoveRequest): Promise<void> {
    if (!(await reference.mayExist(dataDirectory))) return;
    const found = await this.#repository.snapshotsOf(backup, signal);
    if (found.length === 0) return;
    await this.#repository.removeStaleLocks();
    const ids = found.map(({ id }) => id);
    const argv = this.#repository.argv('forget', '--prune', '--', ...ids);
    const result = await this.#repository.run(argv, signal === undefined ? {} : { signal });
    if (result.exitCode !== 0) throw this.#repository.failure(result);
  }
}

/**
 * Copies into a repository of restic. The snapshot has the paths of the live system, the tags `fsbackup`,
 * `fsbackup-job:JOB` and `fsbackup-run:ID`, and this host. Full verification has restic read every byte of the
 * repository and compare it with the SHA-256 that names it, taken when it was read from the source; so there are no
 * other digests. Sockets are not kept.
 */
export function createResticEngine(target: BackupTarget, dependencies: ResticDependencies = {}): CopyEngine {
  return new ResticEngine(target, dependencies);
}
