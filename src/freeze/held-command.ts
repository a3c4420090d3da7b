import { spawn, type ChildProcess } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import path from 'node:path';
import { errnoOf } from '../errors.js';

/** As in a shell: found and not executable, and not found. */
export const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;

/** Where a command is, or the shell's exit code for why it cannot be run. */
export type Lookup = { file: string } | { exitCode: typeof NOT_EXECUTABLE | typeof NOT_FOUND };

async function check(file: string): Promise<Lookup> {
  try {
    if (!(await stat(file)).isFile()) return { exitCode: NOT_EXECUTABLE };
    await access(file, constants.X_OK);
    return { file };
  } catch (error) {
    return { exitCode: errnoOf(error) === 'EACCES' ? NOT_EXECUTABLE : NOT_FOUND };
  }
}

/** Looks a command up as a shell does, before anything is frozen. */
export async function findCommand(name: string, searchPath: string): Promise<Lookup> {
  if (name.includes('/')) return await check(path.resolve(name));
  let result: Lookup = { exitCode: NOT_FOUND };
  for (const directory of searchPath.split(':')) {
    const found = await check(path.join(directory === '' ? '.' : directory, name));
    if ('file' in found) return found;
    if (found.exitCode === NOT_EXECUTABLE) result = found;
  }
  return result;
}

/** The exit code that a shell gives for a child: its own, or 128 and the number of the signal that ended it. */
function shellCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : osConstants.signals[signal]);
}

/** A command that runs while filesystems are frozen. */
export interface HeldCommand {
  /** Resolves to the exit code that a shell would give; rejects when it could not be started. */
  exitCode: Promise<number>;
  /** Passes a signal on to the command and its children. */
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts a command with our own input, output and environment, in a process group of its own: a terminal's Ctrl-C
 * reaches only fsbackup, which thaws first.
 */
export function startHeldCommand(file: string, argv: readonly [string, ...string[]]): HeldCommand {
  const [argv0, ...args] = argv;
  const child: ChildProcess = spawn(file, args, { argv0, detached: true, stdio: 'inherit' });
  return {
    exitCode: new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(shellCode(code, signal)));
    }),
    kill(signal) {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, signal);
      } catch {
        // ESRCH: it has ended.
      }
    },
  };
}
