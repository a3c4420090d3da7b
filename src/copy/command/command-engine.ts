import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import type { BackupTarget } from '../../backup-target.js';
import { FsbackupError, messageOf } from '../../errors.js';
import { runDirectory } from '../../system/directories.js';
import { LeftRunning } from '../../system/left-running.js';
import { runCommand, type CommandResult } from '../../system/run-command.js';
import type { TargetCommand } from '../../target-commands.js';
import { nulTerminated, pathFromBytes } from '../byte-path.js';
import { copyStopped, TARGET_REFUSES, UnreadablePaths, withCopyErrors } from '../copy-error.js';
import { countSources } from '../filesystem/count-tree.js';
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
import { prepareMergedTree, type MergedTree } from '../repository/merged-tree.js';
import { programRecords } from '../program-records.js';
import { printable } from '../printable.js';
import { ReferenceFile } from '../repository/reference.js';
import { readRootAttributes, rootAttributes } from '../root-attributes.js';
import { requireStored } from '../stored/stored-file.js';
import { pathInBackup, requireSources } from '../source-layout.js';
import { restoreStaged } from '../repository/staged-restore.js';
import { CommandRepository } from './stored-by-commands.js';
import { TargetPrograms } from '../target/target-programs.js';
import { suggested } from '../../system/command-line.js';

const LIST_TIMEOUT_MS = 600_000;

const reference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    job: z.string().min(1),
    backupId: z.string().min(1),
    /** Of `/`, where that is a source: a command is given its content. */
    root: rootAttributes.exactOptional(),
  }),
);

/** What the engine works with beside the settings of its target. */
export interface CommandDependencies {
  run?: typeof runCommand;
  /** Where the sources are merged: below it a directory for each job, the same in every run. */
  treeDirectory?: string;
}

/** Of a source that is copied live too. `$1`, … are the sources, up to `--`; then comes the program. */
const SCRIPT = `
while [ "$1" != -- ]; do
  mount --no-mtab -o remount,bind,ro,nosuid,nodev,noexec -- "$PWD/$1"
  shift
done
shift
exec "$@"
`;

function readOnly(names: readonly string[], argv: [string, ...string[]]): [string, ...string[]] {
  return ['sh', '-ec', SCRIPT, 'fsbackup-tree', ...names, '--', ...argv];
}

/** A path as a command may write it, relative to its directory or to `/`. */
function withoutRoot(name: string): string {
  return name.replace(/^(?:\.?\/)+/, '');
}

/** A line of `list`: a path, with a slash at its end for a directory. */
function entryOf(line: string): BackupEntry | undefined {
  const name = withoutRoot(line);
  const bare = name.replace(/\/+$/, '');
  if (bare === '' || bare === '.') return undefined;
  return { path: `/${pathFromBytes(bare)}`, isDirectory: name.endsWith('/') };
}

class CommandEngine implements CopyEngine {
  readonly name = 'command';
  readonly list?: NonNullable<CopyEngine['list']>;
  readonly #run: typeof runCommand;
  readonly #treeDirectory: string;
  readonly #programs: TargetPrograms;
  readonly #repository: CommandRepository<z.ZodType>;

  constructor(target: BackupTarget, { run = runCommand, treeDirectory }: CommandDependencies) {
    this.#run = run;
    this.#treeDirectory = treeDirectory ?? path.join(runDirectory(), 'tree');
    this.#programs = new TargetPrograms(this.name, target, run);
    this.#repository = new CommandRepository(target, this.#programs, reference);
    if (this.#programs.has('list')) this.list = (request) => this.#list(request);
  }

  /** Of what the commands use nobody here knows the version. */
  async preflight(): Promise<Record<string, string>> {
    await this.#programs.requirePrograms();
    return {};
  }

  openRepository({ signal }: { signal?: AbortSignal | undefined }): Promise<string> {
    return this.#repository.open(signal);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { sources, dataDirectory, backup, signal } = request;
      await requireSources(sources);
      const count = await countSources(sources, signal);
      const totals = { totalBytes: count.bytes, totalFiles: count.files };
      request.onProgress({ bytes: 0, files: 0, ...totals });
      const directory = path.join(this.#treeDirectory, backup.job);
      const tree = await prepareMergedTree(directory, sources, { hold: dataDirectory, signal });
      let unreadable: string[];
      try {
        unreadable = await this.#copy(request, tree, directory);
      } finally {
        await tree.remove();
      }
      request.onProgress({ ...count, ...totals });
      const root = await readRootAttributes(sources);
      const { job, backupId } = backup;
      await reference.write(dataDirectory, {
        version: 1,
        job,
        backupId,
        ...(root === undefined ? {} : { root }),
      });
      return { ...count, unreadable };
    });
  }

  /** Returns what could not be read. */
  async #copy(request: CopyRequest, tree: MergedTree, directory: string): Promise<string[]> {
    const { dataDirectory, backup, signal, sources } = request;
    const told = path.join(dataDirectory, 'unreadable');
    await writeFile(told, '', { mode: 0o600 });
    await reference.announce(dataDirectory);
    const left = new LeftRunning(dataDirectory);
    const result = await this.#programs.run(
      'copy',
      { job: backup.job, id: backup.backupId, directory, unreadable: told },
      {
        signal,
        wrap: (argv) => tree.inTree(readOnly(tree.names, argv)),
        env: { FSBACKUP_SOURCES: tree.names.join('\n') },
        watch: left.watch,
      },
    );
    if (signal.aborted) throw copyStopped();
    // A full target is no matter of single files, whatever the command makes of it.
    const isPartial = this.#programs.isPartial(result) && !TARGET_REFUSES.test(result.stderr);
    if (result.exitCode !== 0 && !isPartial) {
      // Another try is not to meet them.
      await left.end();
      throw this.#programs.failure('copy', result);
    }
    await this.#requireNoneLeft('copy', result, left);
    const unreadable = new UnreadablePaths();
    // A FIFO in its place would be waited for without end.
    await requireStored(told).catch((error: unknown) => {
      throw new FsbackupError('copyFailed', `the copy failed: ${messageOf(error)}`, {
        hint: 'The command is to write the paths that it could not read into that file, and not to replace it.',
        cause: error,
      });
    });
    for (const name of (await readFile(told, 'latin1')).split('\0'))
      if (name !== '') unreadable.add(printable(`/${withoutRoot(name)}`));
    await rm(told);
    if (isPartial && unreadable.paths.length === 0)
      for (const source of sources)
        unreadable.add(path.join(source.path, '(some files: the command does not say which)'));
    return unreadable.paths;
  }

  /** Rejects with `copyFailed` where what a command started goes on, which is ended. */
  async #requireNoneLeft(command: TargetCommand, result: CommandResult, left: LeftRunning): Promise<void> {
    const running = await left.await();
    if (running.length === 0) return;
    await left.end();
    throw this.#programs.failureLeaving(command, result, running);
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { job, backupId, root } = await reference.read(request.dataDirectory);
      this.#programs.require('restore');
      const { signal } = request;
      return await restoreStaged(request, {
        run: this.#run,
        root,
        extract: async ({ staged, paths, unreadable }) => {
          // Beside, not in, what is moved into place.
          const wanted = `${staged}.paths`;
          await writeFile(wanted, nulTerminated(paths.map(pathInBackup)), { mode: 0o600 });
          try {
            const left = new LeftRunning(wanted);
            const result = await this.#programs.run(
              'restore',
              { job, id: backupId, directory: staged, paths: wanted },
              { signal, cwd: staged, watch: left.watch },
            );
            const isPartial = this.#programs.isPartial(result);
            if (result.exitCode !== 0 && !isPartial) throw this.#programs.failure('restore', result);
            // What it restored is about to be moved into place.
            await this.#requireNoneLeft('restore', result, left);
            if (isPartial) unreadable.add('/(some files: the command does not say which)');
          } finally {
            await rm(wanted, { force: true });
          }
        },
      });
    });
  }

  async *#list({ dataDirectory, signal }: ListRequest): AsyncGenerator<BackupEntry> {
    const { job, backupId } = await reference.read(dataDirectory);
    const values = { job, id: backupId };
    const lines = programRecords(
      (options) => this.#programs.run('list', values, { ...options, timeoutMs: LIST_TIMEOUT_MS }),
      {
        end: '\n',
        signal,
        check: (result) => {
          if (signal.aborted) throw copyStopped();
          if (result.exitCode !== 0) throw this.#programs.failure('list', result);
        },
      },
    );
    for await (const batch of lines) yield* batch.flatMap((line) => entryOf(line) ?? []);
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { job, backupId } = await reference.read(request.dataDirectory);
      const { mode, signal } = request;
      if (!this.#programs.has('verify')) {
        throw new FsbackupError('usage', `${this.#programs.name} has no command to verify a backup`, {
          hint: `Write one as commands.verify at its target, or restore the backup to try it: \`${suggested('backups verify', ['--drill'])}\`.`,
        });
      }
      const result = await this.#programs.run('verify', { job, id: backupId, mode }, { signal });
      if (signal.aborted) throw copyStopped();
      if (this.#programs.isLost('verify', result)) throw this.#programs.failure('verify', result);
      const problems = result.exitCode === 0 ? [] : [this.#programs.describe('verify', result)];
      return { ...noDifferences(), files: undefined, bytes: 0, problems };
    });
  }

  remove(request: RemoveRequest): Promise<void> {
    return this.#repository.remove(request);
  }
}

/**
 * Copies by a command of the target's own, which is run in a directory that holds the snapshots at the paths of the live
 * system, read-only, at the same place in every run. What it did is known by its exit code alone: files and bytes are
 * those that it was given. It takes no patterns and no digests.
 */
export function createCommandEngine(
  target: BackupTarget,
  dependencies: CommandDependencies = {},
): CopyEngine {
  return new CommandEngine(target, dependencies);
}
