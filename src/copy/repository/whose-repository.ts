import { existsSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import path from 'node:path';
import { localRepository, type EngineTarget } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';

/** Bigger than the `config` of any repository. */
const MOST_BYTES = 64 * 1024;

/** Which program's repository lies in a directory of this host, as its files tell; undefined where they are no repository's. */
export async function programOfRepository(directory: string): Promise<'borg' | 'restic' | undefined> {
  const config = path.join(directory, 'config');
  const found = await lstat(config).catch(() => undefined);
  if (found?.isFile() !== true || found.size > MOST_BYTES) return undefined;
  if ((await readFile(config, 'utf8').catch(() => '')).startsWith('[repository]')) return 'borg';
  const isRestic = existsSync(path.join(directory, 'keys')) && existsSync(path.join(directory, 'snapshots'));
  return isRestic ? 'restic' : undefined;
}

/** Rejects with `usage` where borg is to use what restic made, or the other way round: each would blame the password, or the place. */
export async function refuseOtherProgram(target: Pick<EngineTarget, 'engine' | 'repository'>): Promise<void> {
  const { engine } = target;
  const directory = localRepository(target);
  if (directory === undefined || (engine !== 'borg' && engine !== 'restic')) return;
  const program = await programOfRepository(directory);
  if (program === undefined || program === engine) return;
  throw new FsbackupError('usage', `${directory} is a repository of ${program}, and not of ${engine}`, {
    hint: `Say so (\`engine: ${program}\`, --engine ${program}), or name another place.`,
  });
}
