import { access, constants, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';

/** As in a shell: found and not executable, and not found. */
export const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;

/** Where a command is, or the shell's exit code for why it cannot be run. */
export type Lookup = { file: string } | { exitCode: typeof NOT_EXECUTABLE | typeof NOT_FOUND };

async function check(file: string): Promise<Lookup> {
  try {
    if (!(await stat(file)).isFile()) return { exitCode: NOT_EXECUTABLE };
    await access(file, constants.X_OK);
    return { file };
  } catch (error) {
    return { exitCode: errnoOf(error) === 'EACCES' ? NOT_EXECUTABLE : NOT_FOUND };
  }
}

/**
 * Looks a command up as a shell does, before anything is frozen. `from`: where it is to be run, `/` as programs of the
 * configuration are; '' is our own.
 */
export async function findCommand(name: string, searchPath: string, from = '/'): Promise<Lookup> {
  if (name.includes('/')) return await check(path.resolve(from, name));
  let result: Lookup = { exitCode: NOT_FOUND };
  for (const directory of searchPath.split(':')) {
    const found = await check(path.join(directory === '' ? '.' : directory, name));
    if ('file' in found) return found;
    if (found.exitCode === NOT_EXECUTABLE) result = found;
  }
  return result;
}

/** Whether a program of that name would be found now, as programs of the configuration are. */
export async function isProgram(name: string): Promise<boolean> {
  return 'file' in (await findCommand(name, process.env['PATH'] ?? ''));
}
