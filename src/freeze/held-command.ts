import { spawn, type ChildProcess } from 'node:child_process';
import { constants as osConstants } from 'node:os';
import { errnoOf, messageOf } from '../errors.js';
import { NOT_EXECUTABLE, NOT_FOUND } from '../system/find-command.js';

/** The exit code that a shell gives for a child: its own, or 128 and the number of the signal that ended it. */
function shellCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : osConstants.signals[signal]);
}

/** How a command ended. */
export interface HeldEnd {
  /** What a shell would give: also 126 or 127 for a command that could not be started. */
  exitCode: number;
  /** Why it could not be; absent: it was. */
  notStarted?: string;
}

/** A command that runs while filesystems are frozen. */
export interface HeldCommand {
  /** The session that it, and what it starts, is in; undefined: it could not be started. */
  session: number | undefined;
  ended: Promise<HeldEnd>;
  /** Passes a signal on to the command and its children. */
  kill(signal: NodeJS.Signals): void;
}

/** The kernel tells only now of an interpreter that is not there, arguments that are too long. */
function notStarted(error: unknown): HeldEnd {
  const exitCode = errnoOf(error) === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE;
  return { exitCode, notStarted: messageOf(error) };
}

/**
 * Starts a command with our own input, output and environment, in a session, and so a process group, of its own: a terminal's Ctrl-C
 * reaches only fsbackup, which thaws first. It has no controlling terminal then.
 */
export function startHeldCommand(file: string, argv: readonly [string, ...string[]]): HeldCommand {
  const [argv0, ...args] = argv;
  let child: ChildProcess;
  try {
    child = spawn(file, args, { argv0, detached: true, stdio: 'inherit' });
  } catch (error) {
    return { session: undefined, ended: Promise.resolve(notStarted(error)), kill: () => undefined };
  }
  return {
    session: child.pid,
    ended: new Promise((resolve) => {
      child.once('error', (error) => resolve(notStarted(error)));
      child.once('exit', (code, signal) => resolve({ exitCode: shellCode(code, signal) }));
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
