import { readlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../errors.js';
import { listTrustedDirectory, readTrustedFile } from '../system/trusted-file.js';
import { parseYamlFile, type YamlFile } from './yaml-file.js';
import { shellWord, suggested } from '../system/command-line.js';

export const DEFAULT_CONFIG_FILE = '/etc/fsbackup/config.yaml';

/** The files of one configuration, parsed but not checked. */
export interface ConfigFiles {
  main: YamlFile;
  /** `conf.d/*.yaml` beside the main file, by name. */
  dropIns: YamlFile[];
}

/** The main file that holds: the flag over FSBACKUP_CONFIG (empty: unset) over the default; absolute. */
export function configFile(flag: string | undefined, env: NodeJS.ProcessEnv): string {
  if (flag === '') {
    throw new FsbackupError('usage', '--config names no file', {
      hint: 'Name a file, or leave --config out; an unset shell variable may be why it is empty.',
    });
  }
  const fromEnvironment = env['FSBACKUP_CONFIG'] === '' ? undefined : env['FSBACKUP_CONFIG'];
  return path.resolve(flag ?? fromEnvironment ?? DEFAULT_CONFIG_FILE);
}

/** Refuses a symlink that leads nowhere today, to what is not mounted for one: its jobs would be passed over without a word. */
async function refuseDangling(link: string): Promise<void> {
  const target = await readlink(link).catch((error: unknown) => {
    // No symlink, or gone since it was listed.
    if (['EINVAL', 'ENOENT'].includes(errnoOf(error) ?? '')) return;
    throw error;
  });
  if (target === undefined) return;
  throw new FsbackupError('usage', `${link} leads to ${target}, which is not there`, {
    hint: 'Bring back what it leads to (is its filesystem mounted?), or remove the symlink: what is in it is not read.',
  });
}

async function readDropIns(directory: string, uids: readonly number[] | undefined): Promise<YamlFile[]> {
  const files: YamlFile[] = [];
  const names = await listTrustedDirectory(directory, uids);
  if (names.length === 0) await refuseDangling(directory);
  for (const name of names) {
    if (name.startsWith('.')) continue;
    const file = path.join(directory, name);
    if (name.endsWith('.yml')) {
      throw new FsbackupError('usage', `${file} would not be read: the files of conf.d end in .yaml`, {
        hint: `Rename it: mv ${shellWord(file)} ${shellWord(file.replace(/\.yml$/, '.yaml'))}`,
      });
    }
    if (!name.endsWith('.yaml')) continue;
    const text = await readTrustedFile(file, uids);
    if (text === undefined) await refuseDangling(file);
    else files.push(parseYamlFile(file, text));
  }
  return files;
}

/** Reads the main file and conf.d. Rejects with `usage` when one is missing, unreadable or not to be trusted. */
export async function readConfigFiles(file: string, uids?: readonly number[]): Promise<ConfigFiles> {
  const text = await readTrustedFile(file, uids);
  if (text === undefined) {
    throw new FsbackupError('usage', `There is no configuration file ${file}`, {
      hint: `Write one with \`${suggested('config init')}\`, name another with --config, or give \`fsbackup run\` --job, --source and --to.`,
    });
  }
  return {
    main: parseYamlFile(file, text),
    dropIns: await readDropIns(path.join(path.dirname(file), 'conf.d'), uids),
  };
}
