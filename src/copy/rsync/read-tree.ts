import path from 'node:path';
import type { runCommand } from '../../system/run-command.js';
import { copyFailure, copyStopped, MAX_UNREADABLE } from '../copy-error.js';

/** What `b2sum` and `find` say, with LC_ALL=C, of what they cannot read: the name, in quotes where it needs them, and why. */
const COMPLAINT = /^(?:b2sum|find): (.+): ([^:]+)$/;

function describe(line: string, directory: string): string {
  const [, name, reason] = COMPLAINT.exec(line) ?? [];
  if (name === undefined || reason === undefined) return line;
  const bare = name.replace(/^(['‘])(.*)['’]$/, '$2');
  return bare.startsWith(`${directory}/`)
    ? `${path.join('/', bare.slice(directory.length))} cannot be read: ${reason}`
    : line;
}

/**
 * Reads every file below `directory`, on its filesystem, to the end, and returns what cannot be read, a line each, 100 at
 * most. rsync does not say so of the files whose checksums it makes: what it cannot read counts as zeros there.
 */
export async function findUnreadable(
  directory: string,
  signal: AbortSignal,
  run: typeof runCommand,
): Promise<string[]> {
  const problems: string[] = [];
  // Not by cksum(1): that of coreutils 9.1 takes a read error for the end of the file.
  const result = await run(['find', directory, '-xdev', '-type', 'f', '-exec', 'b2sum', '--', '{}', '+'], {
    signal,
    // The checksums themselves are of no use.
    onStdoutLine: () => undefined,
    onStderrLine: (line) => {
      if (problems.length < MAX_UNREADABLE) problems.push(describe(line, directory));
    },
  });
  if (signal.aborted) throw copyStopped();
  if (result.exitCode !== 0 && problems.length === 0) throw copyFailure('find', result);
  return problems;
}
