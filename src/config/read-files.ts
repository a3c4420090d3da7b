import path from 'node:path';
import { FsbackupError } from '../errors.js';
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

async function readDropIns(directory: string, uids: readonly number[] | undefined): Promise<YamlFile[]> {
  const files: YamlFile[] = [];
  for (const name of await listTrustedDirectory(directory, uids)) {
    if (name.startsWith('.')) continue;
    const file = path.join(directory, name);
    if (name.endsWith('.yml')) {
      throw new FsbackupError('usage', `${file} would not be read: the files of conf.d end in .yaml`, {
        hint: `Rename it: mv ${shellWord(file)} ${shellWord(file.replace(/\.yml$/, '.yaml'))}`,
      });
    }
    if (!name.endsWith('.yaml')) continue;
    const text = await readTrustedFile(file, uids);
    // Gone since it was listed.
    if (text !== undefined) files.push(parseYamlFile(file, text));
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
