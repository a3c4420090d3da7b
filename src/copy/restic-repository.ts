import { FsbackupError } from '../errors.js';
import { describeFailure, type CommandResult } from '../system/run-command.js';
import { copyFailure, isRetryable } from './copy-error.js';
import type { RunWithSecrets } from './repository-program.js';
import { parseSnapshots, type ResticSnapshot } from './restic-output.js';

/** 0.14 is the first with negated excludes; Debian 12 has it. */
const MINIMUM = [0, 14] as const;
/** A repository that does not answer within it is no place to freeze a filesystem for. */
const ANSWER_TIMEOUT_MS = 90_000;

/** The tags that a backup is found by. */
export function resticTags({ job, backupId }: { job: string; backupId: string }): string[] {
  return ['fsbackup', `fsbackup-job:${job}`, `fsbackup-run:${backupId}`];
}

/** What Go's network code says of a connection that ended or cannot be made. */
const LOST =
  /connection (?:refused|reset|timed out)|broken pipe|i\/o timeout|unexpected EOF|no route to host|network is unreachable|TLS handshake timeout|server misbehaving|ssh command exited|connection lost/i;

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/** restic's exit codes since 0.17; before, and for other ends, its words tell. */
const NO_REPOSITORY = 10;
const LOCKED = 11;
const WRONG_PASSWORD = 12;

/** restic, on one repository. `name` is the repository for people. */
export class ResticRepository {
  readonly run: RunWithSecrets;
  readonly #name: string;
  readonly #args: readonly string[];

  constructor(run: RunWithSecrets, name: string, args: readonly string[]) {
    this.run = run;
    this.#name = name;
    this.#args = args;
  }

  argv(...args: string[]): [string, ...string[]] {
    return ['restic', ...this.#args, ...args];
  }

  /** The version; rejects with `usage` where there is none, or one that is too old. */
  async version(): Promise<string> {
    const result = await this.run(['restic', 'version']);
    const version = /^restic (\d+)\.(\d+)\.?(\S*)/.exec(result.stdout);
    if (result.notFound) throw usage('restic is not installed', 'Install it: apt install restic.');
    if (result.exitCode !== 0 || version === null) {
      throw usage(`restic cannot be used: ${describeFailure('restic', result)}`, 'Install it anew.');
    }
    const [, major = '', minor = '', rest = ''] = version;
    const isOld = Number(major) === MINIMUM[0] && Number(minor) < MINIMUM[1];
    if (!isOld) return `${major}.${minor}${rest === '' ? '' : `.${rest}`}`;
    throw usage(`restic ${major}.${minor} is too old`, `Install restic ${MINIMUM.join('.')} or later.`);
  }

  /** Since 0.15; an older one writes zeros. */
  async canMakeHoles(): Promise<boolean> {
    const [major = 0, minor = 0] = (await this.version()).split('.').map(Number);
    return major > 0 || minor >= 15;
  }

  /** Rejects as the failure of a program on the repository is to be told. */
  failure(result: CommandResult, lost = false): FsbackupError {
    const { exitCode, stderr } = result;
    if (exitCode === WRONG_PASSWORD || /wrong password or no key found/.test(stderr)) {
      return usage(
        `${this.#name}: the password is not that of the repository`,
        'Correct what `password` names.',
      );
    }
    if (exitCode === LOCKED || /repository is already locked/.test(stderr)) {
      return new FsbackupError('copyFailed', `${this.#name} is locked by another restic`, {
        hint: 'Wait for it to end, or see `restic list locks`; `restic unlock` removes locks of the dead.',
      });
    }
    return copyFailure('restic', result, lost || LOST.test(stderr));
  }

  async #config(signal: AbortSignal | undefined): Promise<string | CommandResult> {
    const result = await this.run(this.argv('cat', 'config'), {
      timeoutMs: ANSWER_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    const id = /"id":\s*"([0-9a-f]+)"/.exec(result.stdout)?.[1];
    return result.exitCode === 0 && id !== undefined ? id : result;
  }

  /** See `CopyEngine.openRepository`. */
  async open(initialise: boolean, signal?: AbortSignal): Promise<string> {
    const found = await this.#config(signal);
    if (typeof found === 'string') return found;
    if (/empty password|no password|an empty password is not a password/i.test(found.stderr)) {
      throw usage(`${this.#name} needs a password`, 'Say with `password` where it is read from.');
    }
    // What restic before 0.17 says of one that does not answer, too.
    const isMissing = found.exitCode === NO_REPOSITORY || /Is there a repository at/.test(found.stderr);
    if (!isMissing || found.timedOut) throw this.#unusable(found);
    if (!initialise) throw this.#unusable(found, 'Make it with `restic init`, or say `initialise: true`.');
    // Never over an existing one: restic itself refuses that.
    const made = await this.run(this.argv('init'), {
      timeoutMs: ANSWER_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    if (made.exitCode !== 0) throw this.#unusable(made);
    const id = await this.#config(signal);
    if (typeof id === 'string') return id;
    throw this.#unusable(id);
  }

  #unusable(result: CommandResult, hint?: string): FsbackupError {
    const known = this.failure(result);
    if (known.code === 'usage') return known;
    // The last line is the address once more.
    const said = result.stderr
      .trim()
      .split('\n')
      .find((line) => line.startsWith('Fatal: '));
    const why = said === undefined ? describeFailure('restic', result) : said.slice('Fatal: '.length);
    return usage(
      `${this.#name} cannot be used: ${why}`,
      hint ?? 'Check the address, the connection and the credentials of the repository.',
    );
  }

  /** The snapshots of one backup; one, unless something went wrong. Takes no lock. */
  async snapshotsOf(
    backup: { job: string; backupId: string },
    signal?: AbortSignal,
  ): Promise<ResticSnapshot[]> {
    return await this.#snapshots(['--tag', resticTags(backup).join(',')], signal);
  }

  /** The snapshot of that id. */
  async find(id: string, signal?: AbortSignal): Promise<ResticSnapshot | undefined> {
    return (await this.#snapshots(['--tag', 'fsbackup'], signal)).find((one) => one.id === id);
  }

  /** What a check that failed told of the repository's damage. Throws where it could not look. */
  damage(result: CommandResult): string[] {
    if (result.exitCode === undefined || result.exitCode > 1) throw this.failure(result);
    const failure = this.failure(result);
    if (failure.code === 'usage' || isRetryable(failure) || /already locked/.test(result.stderr))
      throw failure;
    return result.stderr.split('\n').filter((line) => line.trim() !== '');
  }

  async #snapshots(which: readonly string[], signal?: AbortSignal): Promise<ResticSnapshot[]> {
    const result = await this.run(this.argv('snapshots', '--json', '--no-lock', ...which), {
      timeoutMs: ANSWER_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    if (result.exitCode === 0) return parseSnapshots(result.stdout);
    throw this.failure(result);
  }

  /** Removes locks whose owner on this host is dead: restic itself leaves them for somebody to do it. */
  async removeStaleLocks(): Promise<void> {
    const result = await this.run(this.argv('unlock'), { timeoutMs: ANSWER_TIMEOUT_MS });
    if (result.exitCode !== 0) throw this.failure(result);
  }
}
