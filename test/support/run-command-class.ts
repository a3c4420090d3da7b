import type { Command, Config } from '@oclif/core';
import { Errors } from '@oclif/core';
import { type MockInstance, vi } from 'vitest';

/** What a command did, run in this process. */
export interface CommandRun {
  exitCode: number;
  stdout: string;
  stderr: string;
}

type CommandClass = new (argv: string[], config: Config) => Command;

/** What `Command` asks of its config; the real one reads package.json and all commands. */
const CONFIG = {
  bin: 'fsbackup',
  userAgent: 'fsbackup/test',
  runHook: () => Promise.resolve({ successes: [], failures: [] }),
  scopedEnvVarKeys: () => [],
  scopedEnvVarKey: () => 'FSBACKUP_NONE',
} as unknown as Config;

/**
 * Runs a command class as oclif would, with its output captured: no process, and no stale `dist`. Rejects with what
 * oclif's own handler would get, unless that is an exit code.
 */
export async function runCommandClass(command: unknown, argv: readonly string[]): Promise<CommandRun> {
  const run: CommandRun = { exitCode: 0, stdout: '', stderr: '' };
  const capture = (stream: NodeJS.WriteStream, name: 'stdout' | 'stderr'): MockInstance =>
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      run[name] += String(chunk);
      return true;
    });
  const captured = [capture(process.stdout, 'stdout'), capture(process.stderr, 'stderr')];
  try {
    await new (command as CommandClass)([...argv], CONFIG)['_run']();
  } catch (error) {
    if (!(error instanceof Errors.ExitError)) throw error;
    run.exitCode = error.oclif.exit ?? 0;
  } finally {
    for (const stream of captured) stream.mockRestore();
  }
  return run;
}
