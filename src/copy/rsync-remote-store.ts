import { randomBytes } from 'node:crypto';
import os from 'node:os';
import { FsbackupError } from '../errors.js';
import type { CommandOptions, CommandResult, runCommand } from '../system/run-command.js';
import type { BackupRef } from './backup-layout.js';
import { copyFailure, copyStopped } from './copy-error.js';
import { NoRepositoryError } from './open-repository.js';
import type { SshClient, SshPlace } from '../system/ssh-place.js';

/** A host that does not answer within it is no place to freeze a filesystem for. */
const ANSWER_TIMEOUT_MS = 90_000;
/** A removal of millions of files takes its time; longer than this somebody is gone. */
const REMOVE_TIMEOUT_MS = 6 * 3_600_000;
/** ssh(1), "EXIT STATUS": an error of its own, and not of the command there. */
const SSH_FAILED = 255;

/**
 * What each script begins with: `$1` is the directory, which must be what was made for backups, and not the empty place
 * where a disk is not mounted. The umask makes all that it makes private.
 */
const PROLOGUE = `set -e
umask 077
root=$1
shift
if ! [ -f "$root/.fsbackup-repository" ]; then echo 'fsbackup: absent'; exit 0; fi
cd "$root"
`;

/** `$1` yes or no: whether it may be made; `$2` the id that it then gets. */
const OPEN = `set -e
umask 077
root=$1
mark=$root/.fsbackup-repository
if ! [ -f "$mark" ]; then
  if [ "$2" != yes ]; then echo 'fsbackup: absent'; exit 0; fi
  mkdir -p "$root"
  printf '%s\\n' "$3" >"$mark.new"
  mv "$mark.new" "$mark"
fi
printf 'fsbackup: user %s\\n' "$(id -u)"
printf 'fsbackup: id %s\\n' "$(cat "$mark")"
`;

/**
 * `$1` the job, `$2` the id, `$3` the incomplete directory. What an earlier attempt or run copied is set aside under
 * names that rsync can link from; there are eight at most.
 */
const PREPARE = `${PROLOGUE}
mkdir -p "$1"
cd "$1"
aside() {
  n=1
  while [ -e "$2.earlier-$n" ] && [ "$n" -lt 8 ]; do n=$((n + 1)); done
  if [ -e "$2.earlier-$n" ]; then rm -rf "$2.earlier-1"; n=1; fi
  mv "$1" "$2.earlier-$n"
}
if [ -d "$3" ]; then aside "$3" "$3"; fi
if [ -d "$2" ]; then aside "$2" "$3"; fi
mkdir "$3"
for one in "$3".earlier-*; do
  if [ -d "$one" ]; then printf 'fsbackup: earlier %s\\n' "$one"; fi
done
`;

/** As `PREPARE`. On disk first, then under its name: a backup with a name is a whole one. */
const PUBLISH = `${PROLOGUE}
cd "$1"
if [ -e "$2" ]; then echo "$2 is there already" >&2; exit 1; fi
flush() { sync -f . 2>/dev/null || sync; }
flush
mv "$3" "$2"
flush
rm -rf "$3".earlier-* || true
`;

const ABANDON = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
rm -rf "$3" "$3".earlier-*
`;

const REMOVE = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
if [ -e "$2" ]; then mv "$2" ".removing-$2"; fi
rm -rf ".removing-$2"
`;

const EXISTS = `${PROLOGUE}
if [ -d "$1/$2" ]; then echo 'fsbackup: there'; fi
`;

type Backup = Pick<BackupRef, 'job' | 'backupId'>;

/** What the scripts said, by the first word. A login's own greetings are passed over. */
function answers(stdout: string, word: string): string[] {
  const prefix = `fsbackup: ${word}`;
  return stdout
    .split('\n')
    .filter((line) => line === prefix || line.startsWith(`${prefix} `))
    .map((line) => line.slice(prefix.length + 1));
}

/**
 * The directory of another host that rsync copies to: `<directory>/<job>/<backupId>` is the tree of a backup, whole from
 * the moment on that it has that name. `<job>/.incomplete-<this host>` is what is being copied, and stays when the copy
 * is broken off, for the next one to go on from. Of the other host a shell, coreutils and rsync are needed.
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

  /** Where it is copied to, until it is whole. One for each host: two may have a job of the same name. */
  incompleteOf({ job }: Pick<Backup, 'job'>): string {
    return `${this.#place.directory}/${job}/${this.#incomplete()}`;
  }

  #incomplete(): string {
    return `.incomplete-${os.hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-')}`;
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

  /** Makes the incomplete directory, empty. Returns what earlier attempts and runs left, to link from. */
  async prepare(backup: Backup, signal: AbortSignal): Promise<string[]> {
    const result = await this.#on(PREPARE, backup, signal);
    const job = `${this.#place.directory}/${backup.job}`;
    return answers(result.stdout, 'earlier').map((name) => `${job}/${name}`);
  }

  /** Gives what was copied its name, once all of it is on disk there. */
  async publish(backup: Backup, signal: AbortSignal): Promise<void> {
    await this.#on(PUBLISH, backup, signal);
  }

  /** Removes what is incomplete there. */
  async abandon(backup: Backup): Promise<void> {
    await this.#on(ABANDON, backup);
  }

  /** Idempotent. */
  async remove(backup: Backup, signal?: AbortSignal): Promise<void> {
    await this.#on(REMOVE, backup, signal);
  }

  async exists(backup: Backup, signal: AbortSignal): Promise<boolean> {
    return answers((await this.#on(EXISTS, backup, signal)).stdout, 'there').length > 0;
  }

  /** Runs a script about a backup. Rejects with `copyFailed` unless it succeeds. */
  async #on(script: string, { job, backupId }: Backup, signal?: AbortSignal): Promise<CommandResult> {
    const result = await this.#script(script, [job, backupId, this.#incomplete()], {
      timeoutMs: REMOVE_TIMEOUT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    if (signal?.aborted === true) throw copyStopped();
    if (result.exitCode !== 0) throw copyFailure('ssh', result, result.exitCode === SSH_FAILED);
    if (answers(result.stdout, 'absent').length > 0) {
      throw new FsbackupError('copyFailed', `${this.#name} is not there any more`, {
        hint: 'See whether its disk is mounted there.',
      });
    }
    return result;
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
