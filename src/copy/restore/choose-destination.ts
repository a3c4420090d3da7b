import path from 'node:path';
import process from 'node:process';
import { FsbackupError } from '../../errors.js';
import type { RestoreTo } from './restore-backup.js';

/** What a command line says of where to restore to. */
export interface DestinationFlags {
  /** A directory, or with an image a device or file. */
  to?: string | undefined;
  inPlace: boolean;
  force: boolean;
  /** Standard error is for events, and not for a question. */
  logsJson: boolean;
}

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/**
 * Where to restore to. In place it asks first, on the terminal of this process, unless forced. Rejects with `usage` when
 * nothing says where, or nobody can be asked.
 */
export async function chooseDestination({
  to,
  inPlace,
  force,
  logsJson,
}: DestinationFlags): Promise<RestoreTo> {
  if (inPlace && force) return { inPlace: { confirm: undefined } };
  if (inPlace) {
    const { canAsk, confirmed } = await import('../../system/ask.js');
    const terminal = { input: process.stdin, output: process.stderr };
    // A question among the events would be none.
    if (!logsJson && canAsk(terminal))
      return { inPlace: { confirm: (text, signal) => confirmed(text, terminal, signal) } };
    throw usage(
      '--in-place overwrites, and there is no terminal to ask on',
      'Say --force if that is meant, or restore with --to DIR.',
    );
  }
  if (to !== undefined && to !== '') return { directory: path.resolve(to), force };
  throw usage(
    to === '' ? '--to names no directory' : 'nothing says where to',
    'Name the directory to restore to with --to (an unset shell variable may be why it is empty), or say --in-place.',
  );
}
