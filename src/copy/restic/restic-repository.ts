import { FsbackupError } from '../../errors.js';
import { describeFailure, type CommandOptions, type CommandResult } from '../../system/run-command.js';
import { copyStopped } from '../copy-error.js';
import { openRepository } from '../repository/open-repository.js';
import type { RunWithSecrets } from '../repository/repository-program.js';
import { parseLock, type OwnLocks, type ResticLock } from './own-locks.js';
import { ResticCache } from './restic-cache.js';
import { isNoRepository, resticDamage, resticFailure, resticUnusable } from './restic-failure.js';
import { isLocked, whenUnlocked, type LockPatience } from './restic-locks.js';
import { parseSnapshots, type ResticSnapshot } from './restic-output.js';
import { OUR_TAG, resticTags } from './restic-tags.js';
import { RetryWatch } from './retry-watch.js';
import { requireAnswer } from '../version-answer.js';

/** 0.14 is the first with negated excludes; Debian 12 has it. */
const MINIMUM = [0, 14] as const;
/** A repository that does not answer within it is no place to freeze a filesystem for. */
const ANSWER_TIMEOUT_MS = 90_000;
/**
 * Since 0.18 restic asks who is not there again and again, for a quarter of an hour: some five times within this. Before, it
 * said at once that nobody was.
 */
const ANSWER_PATIENCE_MS = 20_000;
/**
 * How long another's lock is waited for. The others are short, or of somebody who reads and deletes all of it: a prune, a check by
 * hand.
 */
const LOCK_PATIENCE: LockPatience = { waitMs: 60_000, pauseMs: 5000 };
/** For what only reads, and can bear that somebody writes meanwhile; one that is killed leaves no lock. */
const NO_LOCK = '--no-lock';
/** What it says meanwhile, and why. */
const RETRY = /retrying after [^:]+: (.+)$/;

type Argv = [string, ...string[]];

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/** What a repository is used with. */
export interface ResticOptions {
  answerPatienceMs?: number;
  lockPatience?: LockPatience;
  /** Of one in a directory of this host. */
  ownLocks?: ((read: (id: string) => Promise<ResticLock | undefined>) => OwnLocks) | undefined;
}

/** restic, on one repository. `name` is the repository for people. */
export class ResticRepository {
  readonly #run: RunWithSecrets;
  readonly #name: string;
  readonly #args: readonly string[];
  readonly #answerPatienceMs: number;
  readonly #lockPatience: LockPatience;
  readonly #ownLocks: OwnLocks | undefined;
  readonly #cache = new ResticCache();

  constructor(
    run: RunWithSecrets,
    name: string,
    args: readonly string[],
    { answerPatienceMs = ANSWER_PATIENCE_MS, lockPatience = LOCK_PATIENCE, ownLocks }: ResticOptions = {},
  ) {
    this.#run = run;
    this.#name = name;
    this.#args = args;
    this.#answerPatienceMs = answerPatienceMs;
    this.#lockPatience = lockPatience;
    this.#ownLocks = ownLocks?.((id) => this.#readLock(id));
  }

  /** Whether the disk of its cache is full, and restic did without. */
  get isWithoutCache(): boolean {
    return this.#cache.isRefused;
  }

  /**
   * Runs a command of restic, which waits, `waitMs` at most, while another one has the repository locked; in a directory of this host,
   * without the locks that dead ones of ours left. No other lock is removed: only a person knows that who holds it is dead.
   * `within` makes the program and its arguments into what starts it elsewhere.
   */
  async run(
    args: readonly string[],
    options: CommandOptions = {},
    { within, waitMs = this.#lockPatience.waitMs }: { within?: (argv: Argv) => Argv; waitMs?: number } = {},
  ): Promise<CommandResult> {
    if (args.includes(NO_LOCK)) return await this.#runOnce(args, options, within);
    const locks = this.#ownLocks;
    const attempt = async (): Promise<CommandResult> => {
      if (locks === undefined) return await this.#runOnce(args, options, within);
      await locks.settle();
      return await locks.around((watch) => this.#runOnce(args, { ...options, watch: () => watch }, within));
    };
    return await whenUnlocked(attempt, { ...this.#lockPatience, waitMs }, options.signal);
  }

  async #readLock(id: string): Promise<ResticLock | undefined> {
    const result = await this.#ask(['cat', NO_LOCK, 'lock', id]);
    return result.exitCode === 0 ? parseLock(result.stdout) : undefined;
  }

  async #runOnce(
    args: readonly string[],
    options: CommandOptions,
    within: (argv: Argv) => Argv = (argv) => argv,
  ): Promise<CommandResult> {
    return await this.#cache.run(
      (more, changed) => this.#run(within(['restic', ...this.#args, ...more, ...args]), changed),
      options,
    );
  }

  async #ask(args: readonly string[], signal?: AbortSignal): Promise<CommandResult> {
    const watch = new RetryWatch(this.#answerPatienceMs, signal);
    let why: string | undefined;
    const result = await this.run(args, {
      timeoutMs: ANSWER_TIMEOUT_MS,
      signal: watch.signal,
      onStderrLine: (line) => {
        watch.said(line);
        why = RETRY.exec(line)?.[1] ?? why;
      },
    });
    watch.end();
    const isStoppedByWatch = watch.signal.aborted && signal?.aborted !== true;
    if (!isStoppedByWatch || why === undefined) return result;
    // As it would have ended by itself; that it was stopped says nothing.
    return { ...result, exitCode: 1, signal: undefined, aborted: false, stderr: `Fatal: ${why}` };
  }

  /** The version; rejects with `usage` where there is none, or one that is too old. */
  async version(): Promise<string> {
    const result = await this.#run(['restic', 'version']);
    requireAnswer('restic', result);
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
  canMakeHoles(): Promise<boolean> {
    return this.#isSince(15);
  }

  /** Since 0.16; an older one changes symlinks whose targets are not UTF-8. */
  keepsAllLinks(): Promise<boolean> {
    return this.#isSince(16);
  }

  /** Since 0.17.1; an older one says nothing of an attribute that it could not set, none of what is not supported. */
  tellsOfAttributes(): Promise<boolean> {
    return this.#isSince(17, 1);
  }

  async #isSince(minor: number, patch = 0): Promise<boolean> {
    const parts = (await this.version()).split('.').map((part) => Number.parseInt(part, 10));
    const [major = 0, isMinor = 0, isPatch = 0] = parts;
    return major > 0 || isMinor > minor || (isMinor === minor && isPatch >= patch);
  }

  /** How the failure of a program on the repository is to be told; `lost`: it got no connection. */
  failure(result: CommandResult, lost = false): FsbackupError {
    return resticFailure(this.#name, result, lost);
  }

  /** What a check that failed told of the repository's damage. Throws where it could not look. */
  damage(result: CommandResult): string[] {
    return resticDamage(this.#name, result);
  }

  /** See `CopyEngine.openRepository`. */
  async open(initialise: boolean, signal?: AbortSignal): Promise<string> {
    return await openRepository(
      {
        id: async () => {
          const result = await this.#ask(['cat', NO_LOCK, 'config'], signal);
          const id = /"id":\s*"([0-9a-f]+)"/.exec(result.stdout)?.[1];
          return result.exitCode === 0 && id !== undefined ? id : result;
        },
        isMissing: isNoRepository,
        make: () => this.#ask(['init'], signal),
        unusable: (result, hint) => resticUnusable(this.#name, result, hint),
        makeCommand: 'restic init',
      },
      initialise,
    );
  }

  /** The snapshots of one backup; one, unless something went wrong. Takes no lock. */
  async snapshotsOf(
    backup: { job: string; backupId: string },
    signal?: AbortSignal,
  ): Promise<ResticSnapshot[]> {
    return await this.#snapshots(resticTags(backup).join(','), signal);
  }

  /** All that fsbackup made, on whatever host. Takes no lock. */
  async snapshots(signal?: AbortSignal): Promise<ResticSnapshot[]> {
    return await this.#snapshots(OUR_TAG, signal);
  }

  async #snapshots(tags: string, signal?: AbortSignal): Promise<ResticSnapshot[]> {
    const result = await this.#ask(['snapshots', '--json', NO_LOCK, '--tag', tags], signal);
    if (result.exitCode === 0) return parseSnapshots(result.stdout);
    throw this.failure(result);
  }

  /**
   * What restic finds wrong with the repository; `isFull`: it reads all data. It takes no lock, or no run could write meanwhile. A
   * prune beside it looks like damage: what was found is looked for once more, with the repository locked, before it is believed.
   * Throws where it could not look.
   */
  async check(isFull: boolean, signal: AbortSignal): Promise<string[]> {
    const args = ['check', ...(isFull ? ['--read-data'] : [])];
    const result = await this.run([...args, NO_LOCK], { signal });
    if (signal.aborted) throw copyStopped();
    if (result.exitCode === 0) return [];
    const [first] = this.damage(result);
    const again = await this.run(args, { signal });
    if (signal.aborted) throw copyStopped();
    if (again.exitCode === 0) return [];
    if (!isLocked(again)) return this.damage(again);
    const { code, message, hint } = this.failure(again);
    throw new FsbackupError(
      code,
      `${message}; what is wrong may be that one's doing: ${first ?? 'no reason'}`,
      {
        hint: hint ?? 'Verify it again.',
      },
    );
  }
}
