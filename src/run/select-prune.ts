import { loadConfig } from '../config/load.js';
import type { JobConfig, KeepRules } from '../config/types.js';
import { isJobName } from '../copy/backup-layout.js';
import { listBackups } from '../copy/backup-list.js';
import { targetFrom, type FromTarget } from '../copy/from-target.js';
import { targetName } from '../backup-target.js';
import { FsbackupError } from '../errors.js';
import { pickJobs } from './select-jobs.js';
import type { PruneTask } from './prune.js';

/** How a command line says what to prune. */
export interface PruneSelection extends FromTarget {
  /** Empty: all. */
  names: readonly string[];
  configFile: string | undefined;
  /** Rules of the command line: over the configuration's. */
  rules: KeepRules | undefined;
}

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

async function inTarget(from: string, selection: PruneSelection): Promise<PruneTask[]> {
  const { names, rules } = selection;
  if (rules === undefined) {
    throw usage(
      'with --from no configuration is read, and no rule is given',
      'Say what to keep, for example --keep-last 3 --keep-daily 7; add --dry-run to see what that means.',
    );
  }
  const target = await targetFrom({ ...selection, from });
  const found = [...new Set((await listBackups(target.path)).map(({ job }) => job))];
  const unknown = names.find((name) => !isJobName(name) || !found.includes(name));
  if (unknown !== undefined) {
    throw usage(
      `there is no backup of ${unknown} in ${targetName(target)}`,
      '`fsbackup backups list` shows what there is.',
    );
  }
  return (names.length === 0 ? found : [...new Set(names)]).map((job) => ({ target, job, rules }));
}

function tasksOf(job: JobConfig, rules: KeepRules | undefined): PruneTask[] {
  return job.targets.flatMap((target) => {
    const wanted = rules ?? target.keep;
    return wanted === undefined ? [] : [{ target, job: job.name, rules: wanted }];
  });
}

/** What a command line means to prune, and by which rules. Rejects with `usage`, also where no rule is known. */
export async function selectPrune(selection: PruneSelection): Promise<PruneTask[]> {
  const { names, from, configFile, rules } = selection;
  if (from !== undefined) return await inTarget(from, selection);
  const jobs = pickJobs((await loadConfig({ configFile })).jobs, names);
  const tasks = jobs.map((job) => ({ name: job.name, tasks: tasksOf(job, rules) }));
  const without = tasks.find((one) => one.tasks.length === 0);
  if (without !== undefined && (names.length > 0 || tasks.every((one) => one.tasks.length === 0))) {
    throw usage(
      `${without.name} has no rules: all of its backups are kept`,
      'Give the job or its target a `keep` in the configuration, or say it here, for example --keep-daily 7.',
    );
  }
  return tasks.flatMap((one) => one.tasks);
}
