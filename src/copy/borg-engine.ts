import path from 'node:path';
import { z } from 'zod';
import { runDirectory } from '../system/directories.js';
import { runCommand, type CommandResult } from '../system/run-command.js';
import { borgPatterns } from './borg-excludes.js';
import { binaryOfPython, parseBorgMessage, parseCreated, parseWarning } from './borg-output.js';
import { archiveName, BorgRepository } from './borg-repository.js';
import { copyStopped, isRetryable, UnreadablePaths, withCopyErrors } from './copy-error.js';
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
import { parentsOf, pathInBackup, requireSources } from './source-layout.js';
import { restoreStaged, type Extraction } from './staged-restore.js';
import { targetName, type BackupTarget } from '../backup-target.js';

/** borg's exit codes, of 1.4 too where it is asked for these: done, with warnings. */
const WARNINGS = 1;
/** So often borg saves an unfinished archive: before that, one that failed has left none. */
const CHECKPOINT_S = 1800;
const MAX_PROBLEMS = 100;
/** Regular files, further names of them included: added, modified, unchanged, changed meanwhile, hard link. */
const FILE = /^[AMUCh]$/;

const reference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    /** The archive: its name, and its id, the digest of all that is in it. */
    archive: z.string().min(1),
    id: z.string().min(1),
    /** Of `/`, where that is a source. */
    root: rootAttributes.exactOptional(),
  }),
);

/** What the engine works with beside the settings of its target. */
export interface BorgDependencies {
  run?: typeof runCommand;
  /** Where the sources are merged: below it a directory for each job, the same in every run. */
  treeDirectory?: string;
}

/** A path as borg told it, as on the live system. */
function toLivePath(told: string): string {
  return `/${printable(binaryOfPython(told.replace(/^\.\//, '')))}`;
}

class BorgEngine implements CopyEngine {
  readonly name = 'borg';
  readonly #repository: BorgRepository;
  readonly #run: typeof runCommand;
  readonly #treeDirectory: string;

  constructor(target: BackupTarget, { run = runCommand, treeDirectory }: BorgDependencies) {
    const { repository: settings } = target;
    if (settings === undefined) throw new Error('borg was given no repository');
    const isEncrypted = settings.password !== undefined;
    const environment = {
      // 1.4 can tell more by its exit codes, 1.2 cannot.
      BORG_EXIT_CODES: 'legacy',
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
    this.#treeDirectory = treeDirectory ?? path.join(runDirectory(), 'tree');
  }

  async preflight(): Promise<Record<string, string>> {
    return { borg: await this.#repository.version() };
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
        return await this.#create(request, tree);
      } finally {
        await tree.remove();
      }
    });
  }

  async #create(request: CopyRequest, tree: MergedTree): Promise<CopyResult> {
    const { dataDirectory, sources, backup, signal } = request;
    // An earlier attempt's, whose success nobody heard of.
    await this.remove({ dataDirectory, backup, signal });
    const archive = archiveName(backup);
    const patterns = borgPatterns(sources).map((pattern) => `--pattern=${pattern}`);
    const argv = this.#repository.argv(
      'create',
      '--json',
      '--progress',
      '--list',
      '--numeric-ids',
      `--checkpoint-interval=${CHECKPOINT_S}`,
      `--comment=fsbackup job ${backup.job}`,
      ...patterns,
      `::${archive}`,
      '.',
    );
    const unreadable = new UnreadablePaths();
    let [files, bytes] = [0, 0];
    const startedAt = performance.now();
    await reference.announce(dataDirectory);
    const result = await this.#repository.run(tree.inTree(argv), {
      signal,
      onStderrLine: (line) => {
        const said = parseBorgMessage(line);
        if (said === undefined) return;
        if (said.type === 'file_status') files += FILE.test(said.status) ? 1 : 0;
        else if (said.type === 'archive_progress') {
          bytes = said.original_size ?? bytes;
          request.onProgress({ bytes, files });
        } else {
          const lost = parseWarning(said);
          if (lost !== undefined) unreadable.add(toLivePath(lost));
        }
      },
    });
    const created = parseCreated(result.stdout);
    if (created === undefined || result.exitCode === undefined || result.exitCode > WARNINGS) {
      const hasCheckpoint = performance.now() - startedAt >= CHECKPOINT_S * 1000;
      if (result.exitCode !== undefined && !signal.aborted && !hasCheckpoint)
        await reference.withdraw(dataDirectory);
      throw this.#repository.failure(result);
    }
    request.onProgress({ files, bytes: created.bytes });
    const root = await readRootAttributes(sources);
    await reference.write(dataDirectory, {
      version: 1,
      archive,
      id: created.id,
      ...(root === undefined ? {} : { root }),
    });
    return { files, bytes: created.bytes, unreadable: unreadable.paths };
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { archive, root } = await reference.read(request.dataDirectory);
      return await restoreStaged(
        { ...request, ...(root === undefined ? {} : { root }) },
        { run: this.#run, extract: (extraction) => this.#extract(archive, request, extraction) },
      );
    });
  }

  async #extract(
    archive: string,
    { signal }: Pick<RestoreRequest, 'signal'>,
    { staged, paths, unreadable }: Extraction,
  ): Promise<void> {
    const parents = [...new Set(paths.flatMap(parentsOf))];
    // `pf:` is the directory alone, `pp:` all below it too.
    const wanted = [
      ...parents.map((one) => `pf:${pathInBackup(one)}`),
      ...paths.map((one) => `pp:${pathInBackup(one)}`),
    ];
    const argv = this.#repository.argv('extract', '--numeric-ids', '--sparse', `::${archive}`, ...wanted);
    let complaints = 0;
    const result = await this.#repository.run(argv, {
      cwd: staged,
      signal,
      onStderrLine: (line) => {
        const said = parseBorgMessage(line);
        if (said?.type !== 'log_message') return;
        // A path that is not in the archive is noticed by its absence.
        if (/never matched/.test(said.message)) complaints += 1;
        const lost = parseWarning(said);
        if (lost === undefined) return;
        complaints += 1;
        unreadable.add(toLivePath(lost));
      },
    });
    if (result.exitCode !== 0 && !(result.exitCode === WARNINGS && complaints > 0)) {
      throw this.#repository.failure(result);
    }
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { mode, signal, dataDirectory } = request;
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
}

/**
 * Copies into a repository of borg: an archive `JOB-ID` with the paths of the live system. Full verification has borg
 * read and decrypt every byte of the archive and compare it with the digest that names it, taken when it was read from
 * the source; so there are no other digests. Sizes are those that borg counts, its own records of the files included.
 * Sockets are not kept.
 */
export function createBorgEngine(target: BackupTarget, dependencies: BorgDependencies = {}): CopyEngine {
  return new BorgEngine(target, dependencies);
}
