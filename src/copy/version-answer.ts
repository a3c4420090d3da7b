import { FsbackupError } from '../errors.js';
import { describeFailure, type CommandResult } from '../system/run-command.js';

/**
 * Throws `failed` for a program that was ended, or did not end, before it told its version: that says nothing of what is
 * installed.
 */
export function requireAnswer(program: string, result: CommandResult): void {
  if (result.signal === undefined && !result.timedOut) return;
  throw new FsbackupError('failed', describeFailure(`${program} --version`, result), {
    hint: 'Nothing was frozen or copied. See what ended it (dmesg tells of the OOM killer), then run the job again.',
  });
}
