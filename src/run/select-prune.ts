import { loadConfig } from '../config/load.js';
import type { JobConfig, KeepRules } from '../config/types.js';
import { isJobName } from '../copy/backup/backup-layout.js';
import { listBackups } from '../copy/backup/backup-list.js';
import { listInterrupted } from '../copy/backup/interrupted-backup.js';
import { targetFrom, type FromTarget } from '../copy/target/from-target.js';
import { whyAbsent } from '../copy/target/locate-target.js';
import { targetName } from '../backup-target.js';
import { FsbackupError } from '../errors.js';
import { pickJobs } from './select-jobs.js';
import type { PruneTask } from './prune.js';
import { suggested } from '../system/command-line.js';

/** How a command line says what to prune. */
export interface PruneSelection extends FromTarget {
  /** Empty: all. */
  names: readonly string[];
  configFile: string | undefined;
  /** Rules of the command line: over the configuration's. */
  rules: KeepRules | undefined;
  /** Broken-off copies are to go, too. */
  withInterrupted: boolean;
  /** Is told of targets that are not there. */
  warn: (message: string) => void;
}

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

async function inTarget(from: string, selection: PruneSelection): Promise<PruneTask[]> {
  const { names, rules, withInterrupted } = selection;
  if (rules === undefined && !withInterrupted) {
    throw usage(
      'with --from no configuration is read, and no rule is given',
      'Say what to keep, for example --keep-last 3 --keep-daily 7, or --interrupted to remove what broken-off runs left and no backup; add --dry-run to see what that means.',
    );
  }
  const target = await targetFrom({ ...selection, from });
  const all = [...(await listBackups(target.path)), ...(await listInterrupted(target.path))];
  const found = [...new Set(all.map(({ job }) => job))];
  const unknown = names.find((name) => !isJobName(name) || !found.includes(name));
  if (unknown !== undefined) {
    throw usage(
      `there is no backup of ${unknown} in ${targetName(target)}`,
      `\`${suggested('backups list')}\` shows what there is.`,
    );
  }
  return (names.length === 0 ? found : [...new Set(names)]).map((job) => ({
    target,
    job,
    rules,
    withInterrupted,
  }));
}

function tasksOf(job: JobConfig, { rules, withInterrupted }: PruneSelection): PruneTask[] {
  return job.targets.flatMap((target) => {
    const wanted = rules ?? target.keep;
    if (wanted === undefined && !withInterrupted) return [];
    return [{ target, job: job.name, rules: wanted, withInterrupted }];
  });
}

/** What jobs that are configured no more left half-copied in these targets: nobody else would tell of it. */
async function abandoned(jobs: readonly JobConfig[], withInterrupted: boolean): Promise<PruneTask[]> {
  const known = new Set(jobs.map(({ name }) => name));
  const targets = new Map(jobs.flatMap((job) => job.targets.map((target) => [target.path, target])));
  const tasks: PruneTask[] = [];
  for (const target of targets.values()) {
    const left = (await listInterrupted(target.path)).map(({ job }) => job).filter((job) => !known.has(job));
    for (const job of new Set(left)) tasks.push({ target, job, rules: undefined, withInterrupted });
  }
  return tasks;
}

/** Without those whose target is not there: what lies in its place is not what the rules are about. */
async function present(tasks: readonly PruneTask[], warn: PruneSelection['warn']): Promise<PruneTask[]> {
  const kept: PruneTask[] = [];
  for (const task of tasks) {
    const absent = await whyAbsent({ mustBeMountpoint: false, ...task.target }, [task.job]);
    if (absent === undefined) kept.push(task);
    else warn(`nothing of ${task.job} is pruned in ${targetName(task.target)}: ${absent.message}`);
  }
  return kept;
}

/** What a command line means to prune, and by which rules. Rejects with `usage`, also where no rule is known. */
export async function selectPrune(selection: PruneSelection): Promise<PruneTask[]> {
  const { names, from, configFile, withInterrupted } = selection;
  if (from !== undefined) return await inTarget(from, selection);
  const configured = (await loadConfig({ configFile })).jobs;
  const jobs = pickJobs(configured, names);
  const tasks = jobs.map((job) => ({ name: job.name, tasks: tasksOf(job, selection) }));
  const without = tasks.find((one) => one.tasks.length === 0);
  if (without !== undefined && (names.length > 0 || tasks.every((one) => one.tasks.length === 0))) {
    throw usage(
      `${without.name} has no rules: all of its backups are kept`,
      'Give the job or its target a `keep` in the configuration, or say it here, for example --keep-daily 7.',
    );
  }
  const others = names.length === 0 ? await abandoned(configured, withInterrupted) : [];
  return await present([...tasks.flatMap((one) => one.tasks), ...others], selection.warn);
}
