import { FsbackupError } from '../../errors.js';
import { copyFailure } from '../copy-error.js';
import { describeFailure, type CommandResult, type runCommand } from '../../system/run-command.js';
import { shellWord } from '../../system/command-line.js';

/** A dataset that backups are sent to, on this host or another one. */
export interface ZfsPlace {
  /** `user@host`; undefined: this host. */
  host: string | undefined;
  dataset: string;
}

const TIMEOUT_MS = 120_000;
/** zfs(8), "ZFS Component Naming Requirements", without blanks. */
const DATASET = /^[A-Za-z][\w.:-]*(?:\/[\w.:-]+)*$/;
const HOST = /^(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9[][\w.:\]-]*$/;

/** Parses `tank/backups` and `ssh://user@host/tank/backups`; undefined for anything else. Pure. */
export function parseZfsPlace(repository: string): ZfsPlace | undefined {
  const remote = /^ssh:\/\/([^/]+)\/(.+)$/.exec(repository);
  const host = remote?.[1];
  const dataset = remote?.[2] ?? repository;
  if (!DATASET.test(dataset) || (host !== undefined && !HOST.test(host))) return undefined;
  return { host, dataset };
}

/** For the shell at the other end of ssh, which joins its arguments. */
function quoted(argument: string): string {
  return `'${argument.replaceAll("'", String.raw`'\''`)}'`;
}

/** A command as it is run where the place is. */
export function atPlaceOf(
  { host }: Pick<ZfsPlace, 'host'>,
  argv: readonly [string, ...string[]],
): [string, ...string[]] {
  if (host === undefined) return [...argv];
  const options = ['-o', 'BatchMode=yes', '-o', 'ServerAliveInterval=15', '-o', 'ConnectTimeout=30'];
  return ['ssh', ...options, '--', host, argv.map(quoted).join(' ')];
}

/** The datasets and snapshots at a place. */
export class ZfsStore {
  readonly place: ZfsPlace;
  readonly #run: typeof runCommand;

  constructor(place: ZfsPlace, run: typeof runCommand) {
    this.place = place;
    this.#run = run;
  }

  /** Runs `zfs` there. */
  async zfs(...args: string[]): Promise<CommandResult> {
    return await this.#run(atPlaceOf(this.place, ['zfs', ...args]), { timeoutMs: TIMEOUT_MS });
  }

  /** As `zfs`, rejecting with what `isRetryable` is true of when the host did not answer. */
  async #ask(...args: string[]): Promise<CommandResult> {
    const result = await this.zfs(...args);
    // ssh's own exit code.
    if (this.place.host !== undefined && result.exitCode === 255) throw copyFailure('ssh', result, true);
    return result;
  }

  /** A property of a dataset or snapshot; undefined when it is not there, or has none (`-`). Rejects with `copyFailed`. */
  async get(property: string, name: string): Promise<string | undefined> {
    const got = await this.#ask('get', '-H', '-p', '-o', 'value', property, name);
    const value = got.stdout.trim();
    if (got.exitCode === 0) return value === '-' || value === '' ? undefined : value;
    if (/does not exist|could not find any snapshots/.test(got.stderr)) return undefined;
    throw new FsbackupError('copyFailed', `${name} cannot be looked at: ${describeFailure('zfs', got)}`, {
      hint: `Try by hand: ${atPlaceOf(this.place, ['zfs', 'get', property, name]).join(' ')}`,
    });
  }

  /** The snapshots of a dataset, the oldest first; none where that is not there. */
  async snapshotsOf(dataset: string): Promise<string[]> {
    const listed = await this.#ask(
      'list',
      '-H',
      '-o',
      'name',
      '-s',
      'createtxg',
      '-t',
      'snapshot',
      '-d',
      '1',
      dataset,
    );
    if (listed.exitCode === 0) return listed.stdout.split('\n').filter((name) => name !== '');
    if (/does not exist/.test(listed.stderr)) return [];
    throw new FsbackupError('copyFailed', `${dataset} cannot be listed: ${describeFailure('zfs', listed)}`, {
      hint: 'See that its pool is imported, and its host answers.',
    });
  }

  /** Destroys what is named, and no more than that. Idempotent. Rejects with `cleanupIncomplete`. */
  async destroy(name: string): Promise<void> {
    const destroyed = await this.zfs('destroy', name);
    if (destroyed.exitCode === 0 || /does not exist|could not find any snapshots/.test(destroyed.stderr))
      return;
    throw new FsbackupError(
      'cleanupIncomplete',
      `${name} is not removed: ${describeFailure('zfs', destroyed)}`,
      {
        hint: 'End what uses it (zfs holds, zfs get clones), then run: fsbackup recover',
      },
    );
  }

  /** Drops what a receive that was cut short left in a dataset. Idempotent. */
  async abortReceive(dataset: string): Promise<void> {
    if ((await this.get('receive_resume_token', dataset)) === undefined) return;
    const aborted = await this.zfs('receive', '-A', dataset);
    if (aborted.exitCode === 0) return;
    throw new FsbackupError(
      'cleanupIncomplete',
      `what was received of ${dataset} is not removed: ${describeFailure('zfs', aborted)}`,
      { hint: `Try by hand: zfs receive -A ${shellWord(dataset)}` },
    );
  }

  /** Tells the dataset from every other one. Makes it where that is asked for. Rejects with `usage`. */
  async open(initialise: boolean): Promise<string> {
    const { dataset, host } = this.place;
    const where = host === undefined ? dataset : `${dataset} on ${host}`;
    let got = await this.zfs('get', '-H', '-p', '-o', 'value', 'guid', dataset);
    if (got.exitCode !== 0 && initialise && /does not exist/.test(got.stderr)) {
      await this.zfs('create', '-p', '-o', 'canmount=off', dataset);
      got = await this.zfs('get', '-H', '-p', '-o', 'value', 'guid', dataset);
    }
    if (got.exitCode === 0) return got.stdout.trim();
    throw new FsbackupError('usage', `the dataset ${where} cannot be used: ${describeFailure('zfs', got)}`, {
      hint: `Make it (zfs create -o canmount=off ${shellWord(dataset)}), or say \`initialise: true\`; see that its pool is imported.`,
    });
  }
}
