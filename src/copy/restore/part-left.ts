import { readdir } from 'node:fs/promises';
import { asSentence, FsbackupError } from '../../errors.js';
import { shellWord } from '../../system/command-line.js';

/** How a restore is told that broke off and left part of it in `directory`: the same command would not go there again. */
export async function withPartLeft(directory: string, error: unknown): Promise<unknown> {
  if (!(error instanceof FsbackupError) || error.code !== 'copyFailed') return error;
  const names = await readdir(directory).catch(() => []);
  if (names.length === 0) return error;
  const hint = `${asSentence(error.hint)} What was restored so far lies in ${shellWord(directory)}: add --force, or remove that first.`;
  return new FsbackupError(error.code, error.message, { hint, below: error.below, cause: error });
}
