import { existsSync } from 'node:fs';
import { loadConfig } from '../config/load.js';
import { configFile as resolveConfigFile } from '../config/read-files.js';
import { openCatalogue } from './catalogue.js';
import { targetFrom, type FromTarget } from './from-target.js';
import { FsbackupError } from '../errors.js';

/** Where a command looks for backups. With `from`, that target alone, and no configuration is read. */
export interface WhereBackupsAre extends FromTarget {
  configFile?: string | undefined;
  /** Only the targets of this job, when the configuration has it. */
  job?: string | undefined;
}

/**
 * The directories of the targets to look in, each once; of a repository its catalogue, which is opened: it tells how to
 * reach the repository. Rejects with `usage` when there is no usable configuration.
 */
export async function targetsToSearch(where: WhereBackupsAre): Promise<string[]> {
  const { from, configFile, job } = where;
  if (from !== undefined) return [(await targetFrom({ ...where, from })).path];
  const file = resolveConfigFile(configFile, process.env);
  if (!existsSync(file)) {
    throw new FsbackupError(
      'usage',
      `there is no configuration file ${file} that says where the backups are`,
      {
        hint: 'Name the directory that the backups are in with --from, or the configuration with --config.',
      },
    );
  }
  const { jobs } = await loadConfig({ configFile });
  const own = jobs.filter(({ name }) => name === job);
  const targets = (own.length > 0 ? own : jobs).flatMap((one) => one.targets);
  for (const target of targets) await openCatalogue(target);
  if (targets.length > 0) return [...new Set(targets.map((target) => target.path))];
  throw new FsbackupError('usage', 'the configuration has no target to look for backups in', {
    hint: 'Name the directory that the backups are in with --from.',
  });
}
