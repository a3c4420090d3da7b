import { setTimeout as sleep } from 'node:timers/promises';
import { FsbackupError } from '../errors.js';
import { shellCommand } from '../system/command-line.js';
import { snapshotMarks } from '../system/process-identity.js';
import { describeFailure, runCommand, type CommandResult } from '../system/run-command.js';
import { throwIfAborted } from './aborted.js';
import type { CreateOptions } from './provider.js';

/** After its kill a program is waited for so long; one in D state does not end. */
const GIVE_UP_MS = 8000;
/** How long `settled` waits for such a one. */
const SETTLE_MS = 15_000;

export interface ToolOptions extends CreateOptions {
  timeoutMs: number;
  /** How a program ended, in one clause; `describeFailure` when left out. */
  describe?: (program: string, result: CommandResult) => string;
  /** What somebody could try by hand, where that is not what is run. */
  byHand?: readonly string[];
}

/** A snapshot that is not made, and would as likely not be by another try: what makes it hangs, or is too slow. */
export class HangingSnapshotError extends FsbackupError {
  constructor(message: string, hint: string) {
    super('snapshotFailed', message, { hint });
  }
}

/** Resolves to undefined when `result` does not settle soon after the tool was told to end. */
async function orStuck(
  result: Promise<CommandResult>,
  { signal, timeoutMs }: ToolOptions,
): Promise<CommandResult | undefined> {
  const done = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<undefined>((resolve) => {
    const giveUp = (): void => {
      clearTimeout(timer);
      timer = setTimeout(resolve, GIVE_UP_MS, undefined);
    };
    timer = setTimeout(giveUp, timeoutMs);
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true, signal: done.signal });
  });
  try {
    return await Promise.race([result, stuck]);
  } finally {
    done.abort();
    clearTimeout(timer);
  }
}

/**
 * Runs the programs that make snapshots. One of them may hang in D state, on a filesystem that somebody froze, where
 * no signal ends it, and may still make its snapshot when that is thawed: nobody waits for it for ever, and nobody
 * takes its silence for its end.
 */
export class SnapshotTool {
  readonly #running = new Map<string, Promise<CommandResult>>();

  /**
   * Makes the snapshot `name`, or several at once. Rejects with `snapshotFailed`, a `HangingSnapshotError` where no signal
   * ends the program; they may then exist, or come to.
   */
  async make(
    name: string | readonly string[],
    argv: readonly [string, ...string[]],
    options: ToolOptions,
  ): Promise<void> {
    const { signal, timeoutMs, watchCommand, describe = describeFailure, byHand = argv } = options;
    const names = [name].flat();
    const result = runCommand(argv, {
      signal,
      timeoutMs,
      // What it leaves running with its output open (ssh that shares its connection) is not to lengthen a freeze.
      endsAtExit: true,
      ignoresStdout: true,
      // By which `recover` finds it should it outlive us.
      env: snapshotMarks(names),
      ...(watchCommand === undefined ? {} : { watch: watchCommand }),
    });
    for (const one of names) this.#running.set(one, result);
    void result.finally(() => {
      for (const one of names) this.#running.delete(one);
    });
    const ended = await orStuck(result, options);
    throwIfAborted(signal);
    if (ended?.exitCode === 0) return;
    const what = `The snapshot ${names.join(', ')} could not be made`;
    if (ended === undefined) {
      throw new HangingSnapshotError(
        `${what}: ${argv[0]} hangs and cannot be killed`,
        'See who holds its filesystem frozen (fsbackup status), and have it thawed.',
      );
    }
    throw new FsbackupError('snapshotFailed', `${what}: ${describe(argv[0], ended)}`, {
      hint: `Try by hand: ${shellCommand(byHand)}`,
    });
  }

  /** Waits until no program is making `name` any more. Rejects with `cleanupIncomplete` when that takes too long. */
  async settled(name: string): Promise<void> {
    const running = this.#running.get(name);
    if (running === undefined) return;
    const done = new AbortController();
    const waited = await Promise.race([
      running.then(() => true),
      sleep(SETTLE_MS, false, { signal: done.signal }).catch(() => true),
    ]);
    done.abort();
    if (waited) return;
    throw new FsbackupError('cleanupIncomplete', `The program that makes the snapshot ${name} still hangs`, {
      hint: 'Thaw the filesystem that it waits for (fsbackup thaw --force MOUNTPOINT), then run: fsbackup recover',
    });
  }
}
