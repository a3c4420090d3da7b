import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { FsbackupError } from '../../errors.js';
import type { CommandOptions, CommandResult, runCommand } from '../../system/run-command.js';
import { isBackupId, type BackupRef } from '../backup/backup-layout.js';
import { copyFailure, copyStopped } from '../copy-error.js';
import { LimitedFile } from './limited-file.js';
import { NoRepositoryError } from '../repository/open-repository.js';
import { RemoteListing, type RemoteBackup } from './rsync-remote-listing.js';
import { MAX_NOTE_BYTES } from './rsync-remote-note.js';
import { RemoteAttempt } from './rsync-remote-attempt.js';
import { answers, EXISTS, FETCH, FIND, LAST, OPEN, REMOVE } from './rsync-remote-scripts.js';
import type { SshClient, SshPlace } from '../../system/ssh-place.js';

/** A host that does not answer within it is no place to freeze a filesystem for. */
const ANSWER_TIMEOUT_MS = 90_000;
/** A removal of millions of files takes its time; longer than this somebody is gone. */
const REMOVE_TIMEOUT_MS = 6 * 3_600_000;
const LIST_TIMEOUT_MS = 600_000;
/** ssh(1), "EXIT STATUS": an error of its own, and not of the command there. */
const SSH_FAILED = 255;
/** sysexits.h, EX_NOINPUT. */
const NOT_THERE = 66;

type Backup = Pick<BackupRef, 'job' | 'backupId'>;

/**
 * The directory of another host that rsync copies to: `<directory>/<job>/<backupId>` is the tree of a backup, whole from
 * the moment on that it has that name. Of the other host a shell, coreutils and rsync are needed.
 */
export class RsyncRemoteStore {
  readonly #place: SshPlace;
  readonly #ssh: SshClient;
  readonly #name: string;
  readonly #run: typeof runCommand;

  /** `name` is the place for people. */
  constructor(
    { place, ssh, name }: { place: SshPlace; ssh: SshClient; name: string },
    run: typeof runCommand,
  ) {
    this.#place = place;
    this.#ssh = ssh;
    this.#name = name;
    this.#run = run;
  }

  /** Where the tree of a backup lies there. */
  directoryOf({ job, backupId }: Backup): string {
    return `${this.#place.directory}/${job}/${backupId}`;
  }

  /** Runs a program there. */
  readonly runThere: typeof runCommand = (argv, options) => this.#run(this.#ssh.argv(argv), options);

  /**
   * Makes the place if it is not there and `initialise` is true. Returns its id. Rejects with `usage` for one that
   * cannot be used.
   */
  async open(initialise: boolean, signal?: AbortSignal): Promise<string> {
    const id = randomBytes(16).toString('hex');
    const result = await this.#script(OPEN, [initialise ? 'yes' : 'no', id], {
      timeoutMs: ANSWER_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    if (result.exitCode !== 0) throw this.#unusable(result);
    if (answers(result.stdout, 'absent').length > 0) throw this.#absent(initialise);
    const [found = ''] = answers(result.stdout, 'id');
    if (!/^[0-9a-f]{32}$/.test(found)) {
      throw new FsbackupError('usage', `${this.#name} does not tell which place for backups it is`, {
        hint: `See whether its file .fsbackup-repository is damaged, and whether the login runs a POSIX shell.`,
      });
    }
    if (answers(result.stdout, 'user')[0] !== '0') {
      throw new FsbackupError('usage', `${this.#name}: the login is not root there`, {
        hint: 'Without root rsync silently gives all files to the login. Name root@…, or use restic or borg, which need no root at the other end.',
      });
    }
    return found;
  }

  /** Begins no copy yet. `host` is this one, as `hostMark` has it. */
  attempt(backup: Backup, host?: string): RemoteAttempt {
    return new RemoteAttempt(backup, {
      directory: `${this.#place.directory}/${backup.job}`,
      script: (script, args, signal, input) => this.#about(script, args, signal, input),
      run: this.runThere,
      ...(host === undefined ? {} : { host }),
    });
  }

  /** The last backup of the job, whichever host made it. */
  async findLast(backup: Backup, signal: AbortSignal): Promise<string | undefined> {
    const said = await this.#on(LAST, backup, signal);
    const last = answers(said, 'backup').find(isBackupId);
    return last === undefined ? undefined : `${this.#place.directory}/${backup.job}/${last}`;
  }

  /**
   * All trees there that may be backups, whichever host made them. Rejects with `usage` where there is no place for
   * backups, or that cannot be reached; with `copyFailed` for one that tells more than there can be.
   */
  async find(signal: AbortSignal): Promise<RemoteBackup[]> {
    const listing = new RemoteListing();
    const result = await this.#script(FIND, [String(MAX_NOTE_BYTES + 1)], {
      timeoutMs: LIST_TIMEOUT_MS,
      stdoutTo: listing,
      signal,
    });
    if (signal.aborted) throw copyStopped();
    if (listing.errored !== null) throw listing.errored;
    if (result.exitCode !== 0) throw this.#unusable(result);
    if (listing.isAbsent) throw this.#absent(false);
    return listing.backups;
  }

  /**
   * Brings the list of a backup's digests to `file`; false where there is none. Of one that is larger than `sizeBytes` no
   * more than that, which is then another. Rejects with `copyFailed`.
   */
  async fetchList(
    { job, backupId }: Backup,
    { file, sizeBytes }: { file: string; sizeBytes: number },
    signal: AbortSignal,
  ): Promise<boolean> {
    const to = new LimitedFile(file, sizeBytes);
    const result = await this.#script(FETCH, [job, backupId], {
      timeoutMs: REMOVE_TIMEOUT_MS,
      stdoutTo: to,
      signal,
    });
    await to.close();
    if (to.isTooMuch) return true;
    if (to.errored !== null) throw to.errored;
    if (result.exitCode === NOT_THERE) return false;
    this.#requireDone(result, signal);
    return true;
  }

  /** Idempotent. */
  async remove(backup: Backup, signal?: AbortSignal): Promise<void> {
    await this.#on(REMOVE, backup, signal);
  }

  async exists(backup: Backup, signal: AbortSignal): Promise<boolean> {
    return answers(await this.#on(EXISTS, backup, signal), 'there').length > 0;
  }

  async #on(script: string, { job, backupId }: Backup, signal?: AbortSignal): Promise<string> {
    return await this.#about(script, [job, backupId], signal);
  }

  /** Runs a script about a backup, which reads `input`. Returns what it says. Rejects with `copyFailed` unless it succeeds. */
  async #about(
    script: string,
    args: readonly string[],
    signal?: AbortSignal,
    input?: Readable,
  ): Promise<string> {
    const result = await this.#script(script, args, {
      timeoutMs: REMOVE_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
      ...(input === undefined ? {} : { stdinFrom: input }),
    });
    this.#requireDone(result, signal);
    return result.stdout;
  }

  #requireDone(result: CommandResult, signal: AbortSignal | undefined): void {
    if (signal?.aborted === true) throw copyStopped();
    if (result.exitCode !== 0) throw copyFailure('ssh', result, result.exitCode === SSH_FAILED);
    if (answers(result.stdout, 'absent').length === 0) return;
    throw new FsbackupError('copyFailed', `${this.#name} is not there any more`, {
      hint: 'See whether its disk is mounted there.',
    });
  }

  async #script(script: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const words = ['sh', '-c', script, 'fsbackup', this.#place.directory, ...args];
    return await this.runThere(words as [string, ...string[]], options);
  }

  #absent(initialise: boolean): FsbackupError {
    return new NoRepositoryError('usage', `${this.#name} is not a place for backups yet`, {
      hint: initialise
        ? 'See whether it can be written to there.'
        : 'Write `initialise: true` at its target, or run once with --initialise, and it is made. If it was one before, see whether its disk is mounted there.',
    });
  }

  #unusable(result: CommandResult): FsbackupError {
    const failure = copyFailure('ssh', result);
    if (result.aborted || failure.code === 'usage') return failure;
    const { message } = failure;
    return new FsbackupError(
      'usage',
      `${this.#name} cannot be reached or used: ${message.replace(/^the copy failed: /, '')}`,
      {
        hint: 'Try it as root: ssh to that host must come in with a key and without a question (known_hosts, a key without a passphrase or an agent).',
      },
    );
  }
}
