import { FsbackupError } from '../../errors.js';
import type { CommandResult } from '../../system/run-command.js';
import { copyStopped } from '../copy-error.js';
import type { BackupEntry } from '../engine.js';
import { programRecords, type RecordsOptions } from '../program-records.js';

/** What a program of a repository tells in a line of JSON of an entry; what else it tells has none of these. */
function entryOf(line: string): BackupEntry | undefined {
  let told: unknown;
  try {
    told = JSON.parse(Buffer.from(line, 'latin1').toString('utf8'));
  } catch (error) {
    throw new FsbackupError('copyFailed', `what the backup holds cannot be read: ${line.slice(0, 100)}`, {
      hint: 'Name whole paths instead of patterns, or restore all of it.',
      cause: error,
    });
  }
  if (typeof told !== 'object' || told === null || !('path' in told) || !('type' in told)) return undefined;
  const { path, type } = told;
  if (typeof path !== 'string' || typeof type !== 'string') return undefined;
  const inside = path.replace(/^\.?\/?/, '');
  // restic and borg have letters or words for it.
  return inside === '' ? undefined : { path: `/${inside}`, isDirectory: type === 'dir' || type === 'd' };
}

/**
 * The entries that a program of a repository tells of, an object of JSON with `path` and `type` a line. Bytes that are no
 * UTF-8 are not told: one character stands for each. `check` throws when the program came to nothing.
 */
export async function* listRepository(
  start: (options: RecordsOptions) => Promise<CommandResult>,
  signal: AbortSignal,
  check: (result: CommandResult) => void,
): AsyncGenerator<BackupEntry> {
  const records = programRecords(start, {
    end: '\n',
    signal,
    check: (result) => {
      if (signal.aborted) throw copyStopped();
      check(result);
    },
  });
  for await (const batch of records) {
    for (const line of batch) {
      const entry = line === '' ? undefined : entryOf(line);
      if (entry !== undefined) yield entry;
    }
  }
}
