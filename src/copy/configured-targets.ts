import { existsSync } from 'node:fs';
import { loadConfig } from '../config/load.js';
import { configFile as resolveConfigFile } from '../config/read-files.js';
import type { BackupTarget, EngineTarget } from '../backup-target.js';
import { FsbackupError } from '../errors.js';
import { openCatalogue } from './catalogue.js';
import { engineFor } from './engines.js';
import { engineOfRepository, targetFrom, type FromTarget } from './from-target.js';
import { readRepository } from './read-repository.js';

/** Where a command looks for backups. With `from`, that target alone, and no configuration is read. */
export interface WhereBackupsAre extends FromTarget {
  configFile?: string | undefined;
  /** Only the targets of this job, when the configuration has it. */
  job?: string | undefined;
}

type Target = BackupTarget & Partial<EngineTarget>;

async function chooseTargets(where: WhereBackupsAre): Promise<Target[]> {
  const { from, configFile, job } = where;
  if (from !== undefined) {
    const target = await targetFrom({ ...where, from });
    return [where.engine === undefined ? target : { ...target, engine: engineOfRepository(where.engine) }];
  }
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
  if (targets.length > 0) return [...new Map(targets.map((target) => [target.path, target])).values()];
  throw new FsbackupError('usage', 'the configuration has no target to look for backups in', {
    hint: 'Name the directory that the backups are in with --from.',
  });
}

/**
 * The directories of the targets to look in, each once; of a repository its catalogue, which is opened: it tells how to
 * reach the repository. Those of its backups that the catalogue lacks are in a directory of their own, after it
 * (`read-repository.ts`). Rejects with `usage` when there is no usable configuration.
 */
export async function targetsToSearch(where: WhereBackupsAre): Promise<string[]> {
  const { signal } = new AbortController();
  const directories: string[] = [];
  for (const target of await chooseTargets(where)) {
    directories.push(target.path);
    const { engine } = target;
    if (engine === undefined || target.repository === undefined) continue;
    const found = await readRepository(
      { ...target, engine },
      {
        engines: engineFor,
        signal,
        job: where.job,
        isNamed: where.from !== undefined,
        warn: (message) => process.stderr.write(`Warning: ${message}\n`),
      },
    );
    directories.push(...found);
  }
  return directories;
}
