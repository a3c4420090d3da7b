import { readdir } from 'node:fs/promises';
import { FsbackupError } from '../../errors.js';
import { describeFailure, type CommandOptions, type CommandResult } from '../../system/run-command.js';
import { openRepository } from '../repository/open-repository.js';
import { parseArchives, plainText, type BorgArchive } from './borg-output.js';
import { copyFailure, isRefusal, noRoom } from '../copy-error.js';
import type { RunWithSecrets } from '../repository/repository-program.js';
import { requireAnswer } from '../version-answer.js';

/** 1.2 has `compact`, and frees room only by it; Debian 12 has it. */
const MINIMUM = [1, 2] as const;
/** A repository that does not answer within it is no place to freeze a filesystem for. */
const ANSWER_TIMEOUT_MS = 90_000;
/** How long, in seconds, to wait for another borg to leave the repository. */
const LOCK_WAIT_S = 60;

const LOST =
  /Connection closed by remote host|Connection (?:refused|reset|timed out)|Broken pipe|No route to host|Network is unreachable|Could not resolve/i;

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

async function isEmptyDirectory(directory: string): Promise<boolean> {
  const entries = await readdir(directory).catch(() => undefined);
  return entries?.length === 0;
}

/** borg's exit codes, of 1.4 too where it is asked for these: done, with warnings. */
export const WARNINGS = 1;

/** borg, on one repository. `name` is the repository for people. */
export class BorgRepository {
  readonly #run: RunWithSecrets;
  readonly #name: string;
  readonly #encryption: string;

  constructor(run: RunWithSecrets, name: string, encryption: string) {
    this.#run = run;
    this.#name = name;
    this.#encryption = encryption;
  }

  /** A command of borg, and its arguments. */
  argv(command: string, ...args: string[]): [string, ...string[]] {
    return ['borg', '--log-json', `--lock-wait=${LOCK_WAIT_S}`, command, ...args];
  }

  /** Runs it; what it says on stderr comes as plain text. */
  async run(argv: readonly [string, ...string[]], options: CommandOptions = {}): Promise<CommandResult> {
    const result = await this.#run(argv, options);
    return { ...result, stderr: plainText(result.stderr) };
  }

  async #ask(command: string, args: readonly string[], signal?: AbortSignal): Promise<CommandResult> {
    return await this.run(this.argv(command, ...args), {
      timeoutMs: ANSWER_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** The version; rejects with `usage` where there is none, or one that is too old. */
  async version(): Promise<string> {
    const result = await this.run(['borg', '--version']);
    if (result.notFound) throw usage('borg is not installed', 'Install it: apt install borgbackup.');
    requireAnswer('borg', result);
    const version = /^borg (\d+)\.(\d+)\.?(\S*)/.exec(result.stdout);
    if (result.exitCode !== 0 || version === null) {
      throw usage(`borg cannot be used: ${describeFailure('borg', result)}`, 'Install it anew.');
    }
    const [, major = '', minor = '', rest = ''] = version;
    if (Number(major) === MINIMUM[0] && Number(minor) >= MINIMUM[1]) return `${major}.${minor}.${rest}`;
    throw usage(
      `borg ${major}.${minor} is not supported`,
      `Install borg ${MINIMUM.join('.')} or a later 1.x.`,
    );
  }

  /** How the failure of a borg on the repository is to be told. */
  failure(result: CommandResult): FsbackupError {
    const { stderr } = result;
    if (/passphrase supplied in .* is incorrect|passphrase is incorrect/i.test(stderr)) {
      return usage(
        `${this.#name}: the password is not that of the repository`,
        'Correct what `password` names.',
      );
    }
    // With another reason in the brackets it is not held by anybody: it cannot be made.
    if (/Failed to create\/acquire the lock .*\(timeout\)/i.test(stderr)) {
      return new FsbackupError('copyFailed', `${this.#name} is locked by another borg`, {
        hint: 'Wait for it to end; `borg break-lock` removes the lock of one that is dead.',
      });
    }
    // Its own words: they tell how much it needs at once, which is more than is full.
    const full = /Insufficient free space.*/.exec(stderr)?.[0].replace(/\.$/, '');
    if (full !== undefined) return noRoom('borg', full);
    return copyFailure('borg', result, LOST.test(stderr));
  }

  #unusable(result: CommandResult, hint?: string): FsbackupError {
    const known = this.failure(result);
    if (known.code === 'usage') return known;
    if (isRefusal(known)) {
      const why = known.message.replace(/^the copy failed: /, '');
      return usage(`${this.#name} cannot be used: ${why}`, known.hint);
    }
    return usage(
      `${this.#name} cannot be used: ${describeFailure('borg', result)}`,
      hint ?? 'Check the address, the connection and the credentials of the repository.',
    );
  }

  /** See `CopyEngine.openRepository`. In an empty `directory` of this host borg makes one, too, and calls it no valid one before. */
  async open(initialise: boolean, signal?: AbortSignal, directory?: string): Promise<string> {
    const isEmpty = directory !== undefined && (await isEmptyDirectory(directory));
    return await openRepository(
      {
        id: async () => {
          const result = await this.#ask('info', ['--json'], signal);
          const id = /"repository":\s*\{[^}]*"id":\s*"([0-9a-f]+)"/.exec(result.stdout)?.[1];
          return result.exitCode === 0 && id !== undefined ? id : result;
        },
        isMissing: ({ stderr }) =>
          /does not exist/.test(stderr) || (isEmpty && /is not a valid repository/.test(stderr)),
        make: () => this.#ask('init', [`--encryption=${this.#encryption}`, '--make-parent-dirs'], signal),
        unusable: (result, hint) => this.#unusable(result, hint),
        makeCommand: 'borg init',
      },
      initialise,
    );
  }

  /** The archives of a backup: its own, and those that a borg which was interrupted left of it. */
  async archivesOf(name: string, signal?: AbortSignal): Promise<BorgArchive[]> {
    const all = await this.#list(['--consider-checkpoints', `--glob-archives=${name}*`], signal);
    return all.filter((archive) => archive.name === name || archive.name.startsWith(`${name}.checkpoint`));
  }

  /** All finished archives, whoever made them. */
  async archives(signal?: AbortSignal): Promise<BorgArchive[]> {
    return await this.#list(['--format={comment}{hostname}{end}'], signal);
  }

  async #list(args: readonly string[], signal: AbortSignal | undefined): Promise<BorgArchive[]> {
    const result = await this.#ask('list', ['--json', ...args], signal);
    if (result.exitCode !== 0) throw this.failure(result);
    return parseArchives(result.stdout);
  }
}
