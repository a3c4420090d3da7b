import { setTimeout as sleep } from 'node:timers/promises';
import { KILL_AFTER_MS } from './end-session.js';
import { runCommand, type CommandOptions, type CommandResult } from './run-command.js';

/** After its SIGKILL a program that can end has ended. */
const GRACE_MS = 2000;

/**
 * As `runCommand`, and resolves, `timedOut`, also for a program that no signal ends: one in D state, e.g. on a
 * suspended ZFS pool, may stay for days. Whatever it does afterwards nobody is told.
 */
export async function runAtMost(
  argv: readonly [string, ...string[]],
  options: CommandOptions & { timeoutMs: number },
): Promise<CommandResult> {
  const done = new AbortController();
  const stuck = sleep(options.timeoutMs + KILL_AFTER_MS + GRACE_MS, undefined, { signal: done.signal }).then(
    (): CommandResult => ({
      exitCode: undefined,
      signal: undefined,
      notFound: false,
      timedOut: true,
      aborted: false,
      stdout: '',
      stderr: '',
    }),
  );
  // Rejects when the program ended first.
  stuck.catch(() => undefined);
  try {
    return await Promise.race([runCommand(argv, options), stuck]);
  } finally {
    done.abort();
  }
}
