import {
  localRepository,
  targetName,
  type BackupTarget,
  type RepositorySettings,
} from '../../backup-target.js';
import { runCommand } from '../../system/run-command.js';
import { withCopyErrors } from '../copy-error.js';
import { noDifferences } from '../digests/digest-compare.js';
import type {
  BackupEntry,
  CopyEngine,
  CopyRequest,
  CopyResult,
  ListRequest,
  RemoveRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../engine.js';
import type { FoundBackup } from '../repository/found-backup.js';
import { listRepository } from '../repository/list-repository.js';
import { copyMerged, type RepositoryDependencies } from '../repository/merged-copy.js';
import { byFuse, hasFuse as hasFuseHere } from '../repository/fuse-mount.js';
import { resticFuse } from './restic-mount.js';
import { settingsOf, withSecrets } from '../repository/repository-program.js';
import { describeChangedLinks } from './restic-links.js';
import { OwnLocks } from './own-locks.js';
import { makeSnapshot } from './restic-backup.js';
import { resticReference as reference } from './restic-reference.js';
import { ResticRepository, type ResticOptions } from './restic-repository.js';
import { restoreSnapshot } from './restic-attributes.js';
import { STANDS_FOR_BYTE } from './restic-restore.js';
import { backupOfSnapshot } from './restic-tags.js';
import { restoreStaged } from '../repository/staged-restore.js';

/** restic itself would try for a quarter of an hour, again and again. */
const PATIENCE_MS = 5 * 60_000;
/** What a check tells of damage is bounded by it. */
const MAX_PROBLEMS = 100;

/** What the engine works with beside the settings of its target. */
export interface ResticDependencies extends RepositoryDependencies {
  /** How long restic may try to get its connection back. */
  patienceMs?: number;
  /** Whether what was restored can be compared with what `restic mount` shows. */
  hasFuse?: () => Promise<boolean>;
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
  readonly #dependencies: ResticDependencies;
  readonly #localPath: string | undefined;

  constructor(target: BackupTarget, dependencies: ResticDependencies) {
    const settings = settingsOf(target);
    const { run = runCommand } = dependencies;
    const options = Object.entries(settings.options ?? {}).map(([key, value]) => `--option=${key}=${value}`);
    const withEnvironment = withSecrets(
      { settings, password: 'RESTIC_PASSWORD', derive: (env) => repositoryVariable(settings, env) },
      run,
    );
    this.#run = run;
    this.#dependencies = dependencies;
    this.#localPath = localRepository(target);
    const place = this.#localPath;
    const ownLocks: ResticOptions['ownLocks'] =
      place === undefined ? undefined : (read) => new OwnLocks(place, read);
    this.#repository = new ResticRepository(withEnvironment, targetName(target), options, { ownLocks });
  }

  async preflight(): Promise<Record<string, string>> {
    return { restic: await this.#repository.version() };
  }

  openRepository({ initialise, signal }: { initialise: boolean; signal?: AbortSignal }): Promise<string> {
    return this.#repository.open(initialise, signal);
  }

  async copy(request: CopyRequest): Promise<CopyResult> {
    const { treeDirectory, patienceMs = PATIENCE_MS } = this.#dependencies;
    const repository = this.#repository;
    const result = await copyMerged(request, treeDirectory, async (of) => {
      // An earlier attempt's, whose success nobody heard of.
      await this.remove(request);
      const context = { ...of, repository, patienceMs, localPath: this.#localPath };
      const made = await makeSnapshot(request, context);
      const { signal } = request;
      const changed = await describeChangedLinks(of.tree, { repository, signal }, this.#run);
      return changed === undefined ? made : { ...made, warnings: [changed] };
    });
    if (!repository.isWithoutCache) return result;
    const warning = "the disk of restic's cache is full: it worked without its cache, which takes longer";
    return { ...result, warnings: [...(result.warnings ?? []), warning] };
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    const { hasFuse = hasFuseHere } = this.#dependencies;
    return withCopyErrors(async () => {
      const { snapshot, root } = await reference.read(request.dataDirectory);
      return await restoreStaged(request, {
        run: this.#run,
        root,
        standsForByte: STANDS_FOR_BYTE,
        extract: (extraction) =>
          restoreSnapshot(this.#repository, snapshot, extraction, { ...request, hasFuse }),
      });
    });
  }

  async *list({ dataDirectory, signal }: ListRequest): AsyncGenerator<BackupEntry> {
    const { snapshot } = await reference.read(dataDirectory);
    const repository = this.#repository;
    const hadNoCache = repository.isWithoutCache;
    yield* listRepository(
      (options) => repository.run(['ls', '--json', '--', snapshot], options),
      signal,
      (result) => {
        // It was begun anew, and what it said the second time went nowhere.
        const isCutShort = repository.isWithoutCache && !hadNoCache;
        if (result.exitCode !== 0 || isCutShort) throw repository.failure(result);
      },
    );
  }

  readonly mounting = byFuse(async (dataDirectory) => {
    const { snapshot } = await reference.read(dataDirectory);
    return resticFuse(this.#repository, snapshot);
  });

  verify({ mode, signal, dataDirectory }: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { snapshot, tree } = await reference.read(dataDirectory);
      const found = (await this.#repository.snapshots(signal)).find(({ id }) => id === snapshot);
      const problems: string[] = [];
      if (found === undefined) problems.push(`the repository has no snapshot ${snapshot}`);
      else if (tree !== undefined && found.tree !== tree)
        problems.push(`the snapshot ${snapshot} is not what was written`);
      const damage = await this.#repository.check(mode === 'full', signal);
      problems.push(...damage.slice(0, MAX_PROBLEMS));
      return { ...noDifferences(), files: undefined, bytes: 0, problems };
    });
  }

  async remove({ dataDirectory, backup, signal }: RemoveRequest): Promise<void> {
    if (!(await reference.mayExist(dataDirectory))) return;
    const found = await this.#repository.snapshotsOf(backup, signal);
    if (found.length === 0) return;
    const args = ['forget', '--prune', '--', ...found.map(({ id }) => id)];
    const result = await this.#repository.run(args, signal === undefined ? {} : { signal });
    if (result.exitCode !== 0) throw this.#repository.failure(result);
  }

  async find(signal: AbortSignal): Promise<FoundBackup[]> {
    const snapshots = await this.#repository.snapshots(signal);
    return snapshots.flatMap((snapshot) => {
      const backup = backupOfSnapshot(snapshot);
      if (backup === undefined) return [];
      const { id, tree, hostname: host, time, summary } = snapshot;
      return {
        ...backup,
        host,
        completedAt: new Date(time).toISOString(),
        files: summary?.total_files_processed,
        bytes: summary?.total_bytes_processed,
        writeReference: (dataDirectory) => reference.write(dataDirectory, { version: 1, snapshot: id, tree }),
      };
    });
  }
}

/**
 * Copies into a repository of restic. The snapshot has the paths of the live system, the tags `fsbackup`,
 * `fsbackup-job:JOB`, `fsbackup-run:ID` and `fsbackup-consistency:LEVEL`, and this host. Full verification has restic read
 * every byte of the repository and compare it with the SHA-256 that names it, taken when it was read from the source; so
 * there are no other digests. Sockets are not kept.
 */
export function createResticEngine(target: BackupTarget, dependencies: ResticDependencies = {}): CopyEngine {
  return new ResticEngine(target, dependencies);
}
