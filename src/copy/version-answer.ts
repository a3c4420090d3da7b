import { FsbackupError } from '../errors.js';
import { describeFailure, type CommandResult } from '../system/run-command.js';

/** No process, memory or file left for one more program (fork(2), execve(2)): for now. */
const WANTS = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE']);

/**
 * Throws `failed` for a program that was ended, did not end, or could not be started for want of a process or memory,
 * before it told its version: that says nothing of what is installed.
 */
export function requireAnswer(program: string, result: CommandResult): void {
  const isWant = result.startError !== undefined && WANTS.has(result.startError);
  if (result.signal === undefined && !result.timedOut && !isWant) return;
  throw new FsbackupError('failed', describeFailure(`${program} --version`, result), {
    hint: 'Nothing was frozen or copied. See what ended it, or what is used up (dmesg tells of the OOM killer, pids.max of processes), then run the job again.',
  });
}
