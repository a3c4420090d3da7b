import os from 'node:os';
import path from 'node:path';
import { targetName, type BackupTarget, type RepositorySettings } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';
import { findCommand } from '../../system/find-command.js';
import type { Running } from '../../system/left-running.js';
import {
  CHILD_PATH,
  describeFailure,
  type CommandOptions,
  type CommandResult,
  type runCommand,
} from '../../system/run-command.js';
import { commandsOf, purposeOf, type TargetCommand } from '../../target-commands.js';
import type { EngineName } from '../../engine-names.js';
import type { BackupRef } from '../backup/backup-layout.js';
import { ConnectionLostError, copyFailure, copyStopped, TARGET_REFUSES } from '../copy-error.js';
import { printable } from '../printable.js';
import { withSecrets, type RunWithSecrets } from '../repository/repository-program.js';

/** A target that does not answer within it is no place to freeze a filesystem for. */
const CHECK_TIMEOUT_MS = 90_000;
/** ssh(1), "EXIT STATUS": an error of its own, and not of the command there. */
const SSH_FAILED = 255;

/** What a command is about. */
export interface CommandValues {
  job: string;
  id: string;
  /** Where it works: what it copies, or restores to. */
  directory?: string;
  /** A file with the paths that are wanted, NUL-terminated; empty for all. */
  paths?: string;
  /** A file that it may write the paths to that it could not read, one a line. */
  unreadable?: string;
  /** `quick` or `full`. */
  mode?: string;
}

function wholeOf(values: Partial<CommandValues>): Record<string, string> {
  const { job, id } = values;
  const name = job === undefined || id === undefined ? {} : { name: `${job}-${id}` };
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return { host: os.hostname(), ...name, ...Object.fromEntries(given) };
}

/**
 * Replaces `{job}`, `{id}`, `{name}` and so on, also inside of arguments, once. What is no known placeholder stays as it
 * is. Pure but for the host's name.
 */
export function fillInTarget(argv: readonly string[], values: Partial<CommandValues>): [string, ...string[]] {
  const whole = wholeOf(values);
  const fill = (text: string): string =>
    text.replaceAll(/\{([a-z]+)\}/g, (placeholder, key: string) => whole[key] ?? placeholder);
  const [program = '', ...args] = argv;
  return [fill(program), ...args.map(fill)];
}

/** The same as variables: `FSBACKUP_JOB`, … */
function variablesOf(values: Partial<CommandValues>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(wholeOf(values)).map(([key, value]) => [`FSBACKUP_${key.toUpperCase()}`, value]),
  );
}

/** The commands that an engine reaches its repository by. */
export class TargetPrograms {
  /** The repository, for people. */
  readonly name: string;
  readonly #engine: EngineName;
  readonly #settings: RepositorySettings;
  readonly #run: RunWithSecrets;

  constructor(engine: EngineName, target: BackupTarget, run: typeof runCommand) {
    const { repository: settings } = target;
    if (settings === undefined) throw new Error(`${engine} was given no repository`);
    this.name = targetName(target);
    this.#engine = engine;
    this.#settings = settings;
    this.#run = withSecrets({ settings, password: '' }, run);
  }

  has(command: TargetCommand): boolean {
    return this.#settings.commands?.[command] !== undefined;
  }

  /** Rejects with `usage` where the target has no such command. */
  require(command: TargetCommand): readonly string[] {
    const argv = this.#settings.commands?.[command];
    if (argv !== undefined) return argv;
    throw new FsbackupError('usage', `${this.name} has no command to ${purposeOf(command)}`, {
      hint: `Write one as commands.${command} at its target in the configuration, and name that with --config: see docs/configuration.md.`,
    });
  }

  /** Runs a command about a backup; with its placeholders filled in, and the same as variables. */
  async run(
    command: TargetCommand,
    values: Partial<CommandValues>,
    options: CommandOptions & { wrap?: (argv: [string, ...string[]]) => [string, ...string[]] } = {},
  ): Promise<CommandResult> {
    const { wrap, ...rest } = options;
    const argv = fillInTarget(this.require(command), values);
    const env = { FSBACKUP_REPOSITORY: this.name, ...variablesOf(values), ...rest.env };
    // Of no other is read what it prints, but where that is passed on.
    const ignoresStdout = command !== 'size';
    return await this.#run(wrap?.(argv) ?? argv, { ignoresStdout, ...rest, env });
  }

  /** Before any freeze: what is needed is configured, and there. Rejects with `usage`. */
  async requirePrograms(): Promise<void> {
    for (const command of commandsOf(this.#engine)?.needed ?? []) this.require(command);
    for (const [command, argv] of Object.entries(this.#settings.commands ?? {})) {
      const [program = ''] = argv;
      if (program.includes('{') || 'file' in (await findCommand(program, CHILD_PATH))) continue;
      throw new FsbackupError('usage', `${program} is not there, or is not executable`, {
        hint: `Correct commands.${command} of ${this.name}; a name without a slash is looked up in the system directories.`,
      });
    }
  }

  /** The target can take a backup, as far as its own command knows. Rejects with `usage`. */
  async check(signal?: AbortSignal): Promise<void> {
    if (!this.has('check')) return;
    const result = await this.run(
      'check',
      {},
      {
        timeoutMs: CHECK_TIMEOUT_MS,
        ...(signal === undefined ? {} : { signal }),
      },
    );
    if (result.exitCode === 0) return;
    if (result.aborted) throw copyStopped();
    throw new FsbackupError('usage', `${this.name} cannot take a backup: ${this.describe('check', result)}`, {
      hint: 'Run commands.check of its target by hand, as root, to see why.',
    });
  }

  /** Whether a command ended as one does that lost its connection. */
  isLost(command: TargetCommand, { exitCode }: CommandResult): boolean {
    if (exitCode === undefined || exitCode === 0) return false;
    const isSsh = path.basename(this.require(command)[0] ?? '') === 'ssh';
    return exitCode === this.#settings.exitCodes?.retry || (isSsh && exitCode === SSH_FAILED);
  }

  /** Whether it ended as one does that copied all but some files. */
  isPartial({ exitCode }: CommandResult): boolean {
    return exitCode !== undefined && exitCode === this.#settings.exitCodes?.partial;
  }

  /** How a command ended. */
  describe(command: TargetCommand, result: CommandResult): string {
    return describeFailure(`${command} (${path.basename(this.require(command)[0] ?? '')})`, result);
  }

  /** What to tell of a command that failed. */
  failure(command: TargetCommand, result: CommandResult): FsbackupError {
    const message = `the copy failed: ${this.describe(command, result)}`;
    if (result.aborted) return copyStopped();
    if (TARGET_REFUSES.test(result.stderr)) return copyFailure(command, result);
    if (this.isLost(command, result)) {
      return new ConnectionLostError(message, {
        hint: `Check the connection to ${this.name}, then run it again.`,
      });
    }
    if (result.exitCode === 0 && result.inputCutShort === true) {
      return new FsbackupError('copyFailed', `${message}, before it had read all of the backup`, {
        hint: `commands.${command} must read its standard input to the end before it exits with 0.`,
      });
    }
    return new FsbackupError('copyFailed', message, {
      hint: `Run commands.${command} of ${this.name} by hand, as root, to see why; then run it again.`,
    });
  }

  /** Of one that ended well, while what it had started may have been at its work. */
  failureLeaving(command: TargetCommand, result: CommandResult, running: readonly Running[]): FsbackupError {
    const left = running.map(({ pid, name }) => `${printable(name)} (${pid})`).join(', ');
    return new FsbackupError(
      'copyFailed',
      `the copy failed: ${this.describe(command, result)}, and left running: ${left}`,
      {
        hint: `commands.${command} must not end before all that it starts has, since its exit code is all that is known of it (in a script: wait).`,
      },
    );
  }

  /** Of a backup that is not as it was written, though no command says so. */
  failureOf(problem: string): FsbackupError {
    return new FsbackupError('copyFailed', `${this.name} has not what was written to it: ${problem}`, {
      hint: 'See what its commands do with what they read; then run it again.',
    });
  }

  /** As `run`; rejects with `copyFailed` unless it exits with 0. */
  async must(
    command: TargetCommand,
    { job, backupId }: Pick<BackupRef, 'job' | 'backupId'>,
    options: CommandOptions = {},
  ): Promise<CommandResult> {
    const result = await this.run(command, { job, id: backupId }, options);
    if (result.exitCode !== 0) throw this.failure(command, result);
    return result;
  }
}
