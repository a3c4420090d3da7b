import type { QuiesceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import { shellCommand } from '../system/command-line.js';
import { notQuiet } from './not-quiet.js';
import { describeFailure, type CommandOptions, type CommandResult } from '../system/run-command.js';

/** As `runAtMost`: also one that hangs in the kernel keeps nobody else waiting for long. */
export type RunProgram = (
  argv: readonly [string, ...string[]],
  options: CommandOptions & { timeoutMs: number },
) => Promise<CommandResult>;

/** What releases an application: all that is needed to do it, also for a later process. */
export type ReleaseHook = Pick<QuiesceConfig, 'name' | 'after' | 'timeoutMs'>;

function isProgram(argv: readonly string[]): argv is readonly [string, ...string[]] {
  return argv.length > 0;
}

/**
 * Brings one application to rest, by a command that has `env` in its environment too. Rejects with `failed` when its command fails or does not end in time; the
 * application may then be at rest or half-way, and `releaseApplication` is due either way.
 */
export async function quiesceApplication(
  hook: QuiesceConfig,
  run: RunProgram,
  { signal, env = {} }: { signal: AbortSignal; env?: Readonly<Record<string, string>> },
): Promise<void> {
  if (!isProgram(hook.before)) return;
  // What it leaves running, to hold the application, may have its output open.
  const result = await run(hook.before, {
    timeoutMs: hook.timeoutMs,
    signal,
    env,
    endsAtExit: true,
    ignoresStdout: true,
  });
  signal.throwIfAborted();
  if (result.exitCode === 0) return;
  throw notQuiet(hook, hook.before, result);
}

/**
 * Lets one application go on. Not bound to a run's abort signal: it is due after an interrupt too.
 * Rejects with `cleanupIncomplete` when its command fails.
 */
export async function releaseApplication(hook: ReleaseHook, run: RunProgram): Promise<void> {
  if (!isProgram(hook.after)) return;
  const result = await run(hook.after, { timeoutMs: hook.timeoutMs, ignoresStdout: true });
  if (result.exitCode === 0) return;
  throw new FsbackupError(
    'cleanupIncomplete',
    `unquiesce ${hook.name}: ${describeFailure(shellCommand(hook.after), result)}`,
    { hint: `The application may still be at rest: run \`${shellCommand(hook.after)}\` by hand.` },
  );
}
