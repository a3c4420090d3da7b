import { setTimeout as sleep } from 'node:timers/promises';
import { KILL_AFTER_MS } from './end-session.js';
import { runCommand, type CommandOptions, type CommandResult } from './run-command.js';

/** After its SIGKILL a program that can end has ended. */
const GRACE_MS = 2000;

/**
 * As `runCommand`, and resolves, `timedOut` or `aborted`, also for a program that no signal ends: one in D state, e.g. on a
 * suspended ZFS pool, may stay for days. It was sent SIGKILL by then, so what it does once it is let go is the end of
 * the one system call; nobody is told.
 */
export async function runAtMost(
  argv: readonly [string, ...string[]],
  options: CommandOptions & { timeoutMs: number },
): Promise<CommandResult> {
  const { signal, timeoutMs } = options;
  const done = new AbortController();
  const givenUp = async (afterMs: number): Promise<CommandResult> => {
    await sleep(afterMs + KILL_AFTER_MS + GRACE_MS, undefined, { signal: done.signal });
    const aborted = signal?.aborted === true;
    return {
      exitCode: undefined,
      signal: undefined,
      notFound: false,
      timedOut: !aborted,
      aborted,
      stdout: '',
      stderr: '',
    };
  };
  const aborted = new Promise<void>((resolve) => {
    if (signal?.aborted === true) resolve();
    signal?.addEventListener('abort', () => resolve(), { once: true, signal: done.signal });
  });
  const stuck = [givenUp(timeoutMs), aborted.then(() => givenUp(0))];
  // Rejects when the program ended first.
  for (const one of stuck) one.catch(() => undefined);
  try {
    return await Promise.race([runCommand(argv, options), ...stuck]);
  } finally {
    done.abort();
  }
}
