import { localRepository, targetName, type BackupTarget } from '../../backup-target.js';
import { runCommand, type CommandResult } from '../../system/run-command.js';
import { closeLostAcls } from './borg-acls.js';
import { archiveName, backupOfArchive } from './borg-archive.js';
import { createArchive } from './borg-create.js';
import { extractArchive, STANDS_FOR_BYTE } from './borg-extract.js';
import { borgReference as reference } from './borg-reference.js';
import { BorgRepository } from './borg-repository.js';
import { copyStopped, isRetryable, withCopyErrors } from '../copy-error.js';
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
import { byFuse } from '../repository/fuse-mount.js';
import { borgFuse } from './borg-mount.js';
import { settingsOf, withSecrets } from '../repository/repository-program.js';
import { restoreStaged } from '../repository/staged-restore.js';

const MAX_PROBLEMS = 100;

class BorgEngine implements CopyEngine {
  readonly name = 'borg';
  readonly #repository: BorgRepository;
  readonly #run: typeof runCommand;
  readonly #treeDirectory: string | undefined;
  /** Of a repository on this host. */
  readonly #directory: string | undefined;

  constructor(target: BackupTarget, { run = runCommand, treeDirectory }: RepositoryDependencies) {
    const settings = settingsOf(target);
    const isEncrypted = settings.password !== undefined;
    const environment = {
      // 1.4 can tell more by its exit codes, 1.2 cannot.
      BORG_EXIT_CODES: 'legacy',
      // It tells times without their zone.
      TZ: 'UTC',
      ...(isEncrypted ? {} : { BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes' }),
      ...settings.environment,
      BORG_REPO: settings.repository,
    };
    const withEnvironment = withSecrets(
      { settings: { ...settings, environment }, password: 'BORG_PASSPHRASE' },
      run,
    );
    const encryption = settings.options?.['encryption'] ?? (isEncrypted ? 'repokey-blake2' : 'none');
    this.#repository = new BorgRepository(withEnvironment, targetName(target), encryption);
    this.#run = run;
    this.#treeDirectory = treeDirectory;
    this.#directory = localRepository(target);
  }

  async preflight(): Promise<Record<string, string>> {
    return { borg: await this.#repository.version() };
  }

  openRepository({ initialise, signal }: { initialise: boolean; signal?: AbortSignal }): Promise<string> {
    return this.#repository.open(initialise, signal, this.#directory);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return copyMerged(request, this.#treeDirectory, async ({ tree }) => {
      // An earlier attempt's, whose success nobody heard of.
      await this.remove(request);
      return await createArchive(request, this.#repository, tree);
    });
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { archive, root } = await reference.read(request.dataDirectory);
      return await restoreStaged(request, {
        run: this.#run,
        root,
        standsForByte: STANDS_FOR_BYTE,
        countsLinksOfSpecial: true,
        extract: async (extraction) => {
          await extractArchive(this.#repository, archive, extraction, request.signal);
          await closeLostAcls(this.#repository, archive, extraction, request.signal);
        },
      });
    });
  }

  async *list({ dataDirectory, signal }: ListRequest): AsyncGenerator<BackupEntry> {
    const { archive } = await reference.read(dataDirectory);
    const argv = this.#repository.argv('list', '--json-lines', '--format={type}{path}{NL}', `::${archive}`);
    yield* listRepository(
      (options) => this.#repository.run(argv, options),
      signal,
      (result) => {
        if (result.exitCode !== 0) throw this.#repository.failure(result);
      },
    );
  }

  readonly mounting = byFuse(async (dataDirectory) => {
    const { archive } = await reference.read(dataDirectory);
    return borgFuse(this.#repository, archive);
  });

  verify({ mode, signal, dataDirectory }: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { archive, id } = await reference.read(dataDirectory);
      const findings = { ...noDifferences(), files: undefined, bytes: 0 };
      const found = (await this.#repository.archivesOf(archive, signal)).find((one) => one.name === archive);
      if (found === undefined) return { ...findings, problems: [`the repository has no archive ${archive}`] };
      if (found.id !== id)
        return { ...findings, problems: [`the archive ${archive} is not what was written`] };
      const check = this.#repository.argv('check', '--archives-only', `--glob-archives=${archive}`);
      const problems = this.#problems(await this.#repository.run(check, { signal }), signal);
      if (mode === 'full') {
        const read = this.#repository.argv('extract', '--dry-run', `::${archive}`);
        problems.push(...this.#problems(await this.#repository.run(read, { signal }), signal));
      }
      return { ...findings, problems: problems.slice(0, MAX_PROBLEMS) };
    });
  }

  /** What borg said of damage. Throws where it could not look. */
  #problems(result: CommandResult, signal: AbortSignal): string[] {
    if (signal.aborted) throw copyStopped();
    if (result.exitCode === 0) return [];
    const failure = this.#repository.failure(result);
    if (result.exitCode === undefined || failure.code === 'usage' || isRetryable(failure)) throw failure;
    const said = result.stderr.split('\n').filter((line) => line.trim() !== '');
    return said.length === 0 ? [failure.message] : said;
  }

  async remove({ dataDirectory, backup, signal }: RemoveRequest): Promise<void> {
    if (!(await reference.mayExist(dataDirectory))) return;
    const found = await this.#repository.archivesOf(archiveName(backup), signal);
    if (found.length === 0) return;
    const options = signal === undefined ? {} : { signal };
    for (const { name } of found) {
      const deleted = await this.#repository.run(this.#repository.argv('delete', `::${name}`), options);
      if (deleted.exitCode !== 0) throw this.#repository.failure(deleted);
    }
    // Only now is the room free.
    const compacted = await this.#repository.run(this.#repository.argv('compact'), options);
    if (compacted.exitCode !== 0) throw this.#repository.failure(compacted);
  }

  async find(signal: AbortSignal): Promise<FoundBackup[]> {
    const archives = await this.#repository.archives(signal);
    return archives.flatMap((archive) => {
      const backup = backupOfArchive(archive);
      if (backup === undefined) return [];
      const { name, id, hostname: host, end } = archive;
      return {
        ...backup,
        host,
        completedAt: new Date(/[Z+]/.test(end) ? end : `${end}Z`).toISOString(),
        files: undefined,
        bytes: undefined,
        writeReference: (dataDirectory) => reference.write(dataDirectory, { version: 1, archive: name, id }),
      };
    });
  }
}

/**
 * Copies into a repository of borg: an archive `JOB-ID` with the paths of the live system. Full verification has borg
 * read and decrypt every byte of the archive and compare it with the digest that names it, taken when it was read from
 * the source; so there are no other digests. Sizes are those that borg counts, its own records of the files included.
 * Sockets are not kept.
 */
export function createBorgEngine(
  target: BackupTarget,
  dependencies: RepositoryDependencies = {},
): CopyEngine {
  return new BorgEngine(target, dependencies);
}
