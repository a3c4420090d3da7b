import { spawn, type ChildProcess } from 'node:child_process';
import { constants as osConstants } from 'node:os';

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
