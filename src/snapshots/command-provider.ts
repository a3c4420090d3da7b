import type { SnapshotCommands } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import { shellCommand } from '../system/command-line.js';
import { findCommand } from '../system/find-command.js';
import { alreadyMounted, isSealed, mountAt, remountReadOnly, unmount } from '../system/mount.js';
import { CHILD_PATH, describeFailure, runCommand, type CommandResult } from '../system/run-command.js';
import { commandOf, commandsData, fillIn, type Placeholders } from './command-line.js';
import type {
  CreateOptions,
  Detection,
  Exposure,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from './provider.js';
import { SnapshotTool } from './snapshot-tool.js';
import { faultPoint } from '../system/fault-point.js';

/** For every command but `create`, which the freeze's own deadline ends earlier. */
const COMMAND_TIMEOUT_MS = 300_000;
/**
 * From here on an exit code is no answer of `exists`: a shell's for what it could not run (126, 127) or what a signal ended
 * (128 and more), ssh's for a host that cannot be reached (255).
 */
const FIRST_NO_ANSWER = 126;

/**
 * Snapshots by the configuration's own commands: a storage array, a cloud disk, a volume manager that fsbackup does
 * not know. Everything that a ref needs later, the commands included, is in it.
 */
export class CommandProvider implements SnapshotProvider {
  readonly name = 'command';
  readonly #commands: SnapshotCommands | undefined;
  readonly #tool = new SnapshotTool();
  /** Without an `exists` command, nothing else tells that a snapshot is gone. */
  readonly #removed = new Set<string>();
  /** Which snapshot this process exposed where: what a mount shows cannot be told otherwise. */
  readonly #exposed = new Map<string, string>();

  /** `commands` may be left out where only snapshots of other processes are released. */
  constructor(commands?: SnapshotCommands) {
    this.#commands = commands;
  }

  detect(): Detection {
    if (this.#commands === undefined) return { suits: false, reason: 'no snapshot commands are configured' };
    return {
      suits: true,
      freezeModes: ['explicit', 'native', 'atomic'],
      reason: 'the configured command takes the snapshot',
      // What it writes to is its own affair: storage outside of this host, as a rule.
      writesTo: [],
    };
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
    const commands = this.#commands;
    if (commands === undefined) throw new Error('the command provider was made without commands');
    for (const argv of [
      commands.create,
      commands.expose,
      commands.remove,
      commands.exists,
      commands.unexpose,
    ]) {
      const program = argv?.[0];
      if (program === undefined || 'file' in (await findCommand(program, CHILD_PATH))) continue;
      throw new FsbackupError('usage', `The snapshot command ${program} is not there, or is not executable`, {
        hint: 'Correct it in the configuration; a name without a slash is looked up in the system directories.',
      });
    }
    return requests.map(({ filesystem: { mount }, name, freezeMode }) => ({
      provider: this.name,
      name,
      mountpoint: mount.mountpoint,
      fstype: mount.fstype,
      takenFrozen: freezeMode === 'explicit',
      data: { device: mount.source, ...commandsData(commands) },
    }));
  }

  async create(refs: readonly SnapshotRef[], options: CreateOptions): Promise<void> {
    const make = async (ref: SnapshotRef): Promise<void> => {
      const argv = fillIn(commandOf(ref, 'create'), placeholders(ref));
      await this.#tool.make(ref.name, argv, { ...options, timeoutMs: COMMAND_TIMEOUT_MS });
      faultPoint('command.created');
    };
    const results = await Promise.allSettled(refs.map(make));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Without an `exists` command the answer is that it may. Rejects with `cleanupIncomplete` where the command has no answer. */
  async exists(ref: SnapshotRef): Promise<boolean> {
    if (this.#removed.has(ref.name)) return false;
    const exists = commandOf(ref, 'exists');
    if (exists === undefined) return true;
    const result = await this.#run(exists, placeholders(ref));
    const { exitCode, timedOut } = result;
    if (exitCode !== undefined && exitCode < FIRST_NO_ANSWER && !timedOut) return exitCode === 0;
    throw new FsbackupError(
      'cleanupIncomplete',
      `Whether the snapshot ${ref.name} exists cannot be told: ${describeFailure(exists[0], result)}`,
      { hint: `Try by hand: ${shellCommand(fillIn(exists, placeholders(ref)))}` },
    );
  }

  /** Nothing is known of the storage; what it invalidates fails the copy with read errors. */
  async checkIntact(): Promise<void> {}

  async expose(ref: SnapshotRef, directory: string): Promise<Exposure> {
    const expose = commandOf(ref, 'expose');
    const before = await mountAt(directory);
    if (before !== undefined && this.#exposed.get(directory) !== ref.name)
      throw alreadyMounted(directory, before);
    if (before === undefined) {
      const result = await this.#run(expose, placeholders(ref, directory));
      if (result.exitCode !== 0) {
        throw new FsbackupError(
          'snapshotFailed',
          `The snapshot ${ref.name} could not be exposed: ${describeFailure(expose[0], result)}`,
          { hint: `Try by hand: ${shellCommand(fillIn(expose, placeholders(ref, directory)))}` },
        );
      }
    }
    faultPoint('command.exposed');
    const shown = await mountAt(directory);
    if (shown === undefined) {
      // An empty directory would make an empty backup.
      throw new FsbackupError(
        'snapshotFailed',
        `The expose command of ${ref.name} ended well and mounted nothing at ${directory}`,
        { hint: 'The command must mount the snapshot at {directory}.' },
      );
    }
    if (!isSealed(shown)) await remountReadOnly(directory);
    this.#exposed.set(directory, ref.name);
    return { snapshot: ref, path: directory };
  }

  /**
   * Runs the `unexpose` command also when nothing is mounted, since a failed `expose` may have left other things
   * behind; its failure then means that there were none.
   */
  async unexpose({ snapshot, path }: Exposure): Promise<void> {
    const unexpose = commandOf(snapshot, 'unexpose');
    const wasMounted = (await mountAt(path)) !== undefined;
    const result =
      unexpose === undefined ? undefined : await this.#run(unexpose, placeholders(snapshot, path));
    faultPoint('command.unexposed');
    await unmount(path);
    if (unexpose === undefined || result === undefined || result.exitCode === 0 || !wasMounted) return;
    throw new FsbackupError(
      'cleanupIncomplete',
      `The snapshot ${snapshot.name} was unmounted, but its unexpose command failed: ${describeFailure(unexpose[0], result)}`,
      { hint: `Try by hand: ${shellCommand(fillIn(unexpose, placeholders(snapshot, path)))}` },
    );
  }

  async remove(ref: SnapshotRef): Promise<void> {
    await this.#tool.settled(ref.name);
    if (!(await this.exists(ref))) return;
    const remove = commandOf(ref, 'remove');
    const result = await this.#run(remove, placeholders(ref));
    faultPoint('command.removed');
    if (result.exitCode === 0 || (commandOf(ref, 'exists') !== undefined && !(await this.exists(ref)))) {
      this.#removed.add(ref.name);
      return;
    }
    throw new FsbackupError(
      'cleanupIncomplete',
      `The snapshot ${ref.name} could not be removed: ${describeFailure(remove[0], result)}`,
      { hint: `Try by hand: ${shellCommand(fillIn(remove, placeholders(ref)))}` },
    );
  }

  async #run(argv: readonly [string, ...string[]], values: Placeholders): Promise<CommandResult> {
    return await runCommand(fillIn(argv, values), {
      timeoutMs: COMMAND_TIMEOUT_MS,
      ignoresStdout: true,
    });
  }
}

function placeholders(ref: SnapshotRef, directory?: string): Placeholders {
  const { name, mountpoint } = ref;
  return {
    name,
    mountpoint,
    device: ref.data['device'] ?? '',
    ...(directory === undefined ? {} : { directory }),
  };
}
