import path from 'node:path';
import type { Writable } from 'node:stream';
import type { CommandOptions, CommandResult, runCommand } from '../../system/run-command.js';
import { requireStored } from '../stored/stored-file.js';
import { under } from '../under.js';

/** The one file of a tar backup, in its data directory. */
export const ARCHIVE = 'data.tar.zst';

/** An archive that can be read, again and again. */
export interface TarArchive {
  /** What messages call it. */
  name: string;
  /**
   * Runs a tar that reads it, with `mode` (`--extract`, …) first, and no standard input of its own; `wrapper` begins its
   * argument array. Rejects with `copyFailed` when the archive could not be had.
   */
  tar: (
    mode: string,
    args: readonly string[],
    options: CommandOptions,
    wrapper?: readonly string[],
  ) => Promise<CommandResult>;
  /** Unpacks it to `to`; the result is that of zstd. Rejects as `tar`. */
  unpack: (to: Writable, signal: AbortSignal) => Promise<CommandResult>;
}

/** tar unpacks by it. */
export const UNPACK = '--use-compress-program=zstd -q';

/** The archive in a data directory. */
export function storedArchive(dataDirectory: string, run: typeof runCommand): TarArchive {
  const file = path.join(dataDirectory, ARCHIVE);
  return {
    name: ARCHIVE,
    tar: async (mode, args, options, wrapper) => {
      await requireStored(file);
      return await run(under(wrapper, 'tar', [mode, `--file=${file}`, UNPACK, ...args]), options);
    },
    unpack: async (to, signal) => {
      await requireStored(file);
      return await run(['zstd', '-q', '--decompress', '--stdout', '--', file], { signal, stdoutTo: to });
    },
  };
}
