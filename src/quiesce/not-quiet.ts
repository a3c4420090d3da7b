import type { QuiesceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import { formatDuration } from '../config/duration.js';
import { shellCommand } from '../system/command-line.js';
import { describeFailure, type CommandResult } from '../system/run-command.js';

/** How it is told that the `before` of an application failed, or did not end in its time. Pure. */
export function notQuiet(
  { name, timeoutMs }: Pick<QuiesceConfig, 'name' | 'timeoutMs'>,
  before: readonly [string, ...string[]],
  result: CommandResult,
): FsbackupError {
  const [program] = before;
  const failed = (why: string, hint: string): FsbackupError =>
    new FsbackupError('failed', `quiesce ${name}: ${why}`, { hint });
  if (result.notFound && /\s/.test(program)) {
    const words = program.trim().split(/\s+/).join(', ');
    return failed(
      `no program is called ${shellCommand([program])}`,
      `A command is a list of words, and no shell reads it: before: [${words}]. Nothing was frozen.`,
    );
  }
  if (result.timedOut) {
    return failed(
      `${describeFailure(shellCommand(before), { ...result, stderr: '' })} (timeout: ${formatDuration(timeoutMs)})`,
      'Give the application more time with `timeout` beside its `before`, or see by hand what it waits for; nothing was frozen.',
    );
  }
  return failed(
    describeFailure(shellCommand(before), result),
    result.notFound
      ? 'Install it, or correct `before`; nothing was frozen.'
      : 'Run that command by hand to see why; nothing was frozen.',
  );
}
