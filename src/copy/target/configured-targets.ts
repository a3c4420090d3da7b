import { statSync } from 'node:fs';
import { loadConfig } from '../../config/load.js';
import type { JobConfig, TargetConfig } from '../../config/types.js';
import { configFile as resolveConfigFile } from '../../config/read-files.js';
import { targetName, type BackupTarget, type EngineTarget } from '../../backup-target.js';
import { FsbackupError, messageOf } from '../../errors.js';
import { listBackups } from '../backup/backup-list.js';
import { withoutPasswords } from '../../system/command-line.js';
import { consultCatalogue } from '../repository/catalogue.js';
import { engineFor } from '../engines.js';
import { targetFrom, type FromTarget } from './from-target.js';
import { requireWholeTarget } from './inside-target.js';
import { whyAbsent, whyAnotherTarget } from './locate-target.js';
import { readRepository } from '../repository/read-repository.js';

/** Where a command looks for backups. With `from`, that target alone, and no configuration is read. */
export interface WhereBackupsAre extends FromTarget {
  configFile?: string | undefined;
  /** Only the targets of this job, when the configuration has it. */
  job?: string | undefined;
}

type Target = BackupTarget & Partial<EngineTarget>;

/** A target that is not there now, or could not be asked what it holds. */
export interface AbsentTarget {
  target: string;
  message: string;
  hint: string;
  /** It may be there: asking it failed. */
  unasked?: true;
}

const REMEMBERED = 'What is known of it here comes from the catalogue of this host.';

function unasked(target: Target, error: unknown): AbsentTarget {
  const hint = error instanceof FsbackupError ? `${error.hint} ${REMEMBERED}` : REMEMBERED;
  const name = targetName(target);
  const message = `${name} cannot be asked what it holds: ${messageOf(error)}`;
  return { target: name, message, hint, unasked: true };
}

interface Chosen {
  target: Target;
  /** Why it is not there. */
  absent?: FsbackupError;
}

function choice(target: Target, absent: FsbackupError | undefined): Chosen {
  return absent === undefined ? { target } : { target, absent };
}

async function named(where: WhereBackupsAre & { from: string }): Promise<Chosen> {
  const target = await targetFrom(where);
  if (target.repository !== undefined) return { target };
  await requireWholeTarget(target.path);
  return choice(target, await whyAnotherTarget(target.path, where.job));
}

/** The jobs that write to a target. */
function jobsOf(jobs: readonly JobConfig[], { path }: Target): string[] {
  return jobs.filter(({ targets }) => targets.some((one) => one.path === path)).map(({ name }) => name);
}

async function look(target: TargetConfig, jobs: readonly JobConfig[]): Promise<Chosen> {
  return choice(target, await whyAbsent(target, jobsOf(jobs, target)));
}

/** The jobs of the configuration. Rejects with `usage` when there is no usable one. */
async function configuredJobs(configFile: string | undefined): Promise<readonly JobConfig[]> {
  const file = resolveConfigFile(configFile, process.env);
  // One that may not be looked at is told as what it is.
  if (statSync(file, { throwIfNoEntry: false }) === undefined) {
    throw new FsbackupError(
      'usage',
      `there is no configuration file ${file} that says where the backups are`,
      {
        hint: 'Name the directory that the backups are in with --from, or the configuration with --config.',
      },
    );
  }
  return (await loadConfig({ configFile })).jobs;
}

/** The targets of these jobs, each once. */
function uniqueTargets(jobs: readonly JobConfig[]): TargetConfig[] {
  return [...new Map(jobs.flatMap(({ targets }) => targets).map((target) => [target.path, target])).values()];
}

async function chooseTargets({ from, ...where }: WhereBackupsAre): Promise<Chosen[]> {
  const { configFile, job } = where;
  if (from !== undefined) return [await named({ ...where, from })];
  const jobs = await configuredJobs(configFile);
  const own = jobs.filter(({ name }) => name === job);
  const wanted = own.length > 0 ? own : jobs;
  const targets = uniqueTargets(wanted);
  for (const target of targets) await consultCatalogue(target);
  if (targets.length === 0) {
    throw new FsbackupError('usage', 'the configuration has no target to look for backups in', {
      hint: 'Name the directory that the backups are in with --from.',
    });
  }
  return await Promise.all(targets.map((target) => look(target, wanted)));
}

/** Rejects with `usage` unless the configuration has the job: who asks for one that nobody knows has mistyped its name. */
export async function requireConfiguredJob(job: string, configFile: string | undefined): Promise<void> {
  const { jobs } = await loadConfig({ configFile });
  const names = jobs.map(({ name }) => name);
  if (names.includes(job)) return;
  throw new FsbackupError('usage', `there is no job ${job}, and no backup of one that had this name`, {
    hint:
      names.length === 0
        ? 'The configuration has no jobs yet.'
        : `The configuration has: ${names.join(', ')}.`,
  });
}

/** Who is told of what stands in the way of finding all backups, and what ends that. */
export interface ToldOfTargets {
  warn: (message: string) => void;
  /** Of targets that are not there, or could not be asked; else they are a warning. */
  onAbsent?: (absent: AbsentTarget) => void;
  /** Ends the asking. */
  signal?: AbortSignal;
  /** Of repositories that were not asked, since this host has a catalogue of them: by name. */
  onCatalogue?: (target: string) => void;
}

/** The directories of one target to look in. Rejects where a repository cannot be asked, and nothing of it is known here. */
async function directoriesOf(
  { target, absent }: Chosen,
  where: WhereBackupsAre,
  {
    warn,
    onAbsent = ({ message }) => warn(message),
    onCatalogue,
    signal = new AbortController().signal,
  }: ToldOfTargets,
): Promise<string[]> {
  if (absent !== undefined)
    onAbsent({ target: targetName(target), message: absent.message, hint: absent.hint });
  const { engine } = target;
  if (engine === undefined || target.repository === undefined || absent !== undefined) return [target.path];
  const found = await readRepository(
    { ...target, engine },
    {
      engines: engineFor,
      signal,
      job: where.job,
      isNamed: where.from !== undefined,
      onUnasked: (why) => onAbsent(unasked(target, why)),
      onCatalogue: () => onCatalogue?.(targetName(target)),
    },
  );
  return [target.path, ...found];
}

/**
 * The directories of the targets to look in, each once; of a repository its catalogue, which need not be there. Those of its backups that the catalogue lacks are in a directory of their own, after it
 * (`read-repository.ts`). Targets that are not there come last, and are told: somebody who looks for the latest backup
 * must not take what is found for all there is. Rejects with `usage` when there is no usable configuration.
 */
export async function targetsToSearch(where: WhereBackupsAre, told: ToldOfTargets): Promise<string[]> {
  const directories: string[] = [];
  const chosen = await chooseTargets(where);
  const isThere = ({ absent }: Chosen): boolean => absent === undefined;
  for (const one of [...chosen.filter(isThere), ...chosen.filter((each) => !isThere(each))])
    directories.push(...(await directoriesOf(one, where, told)));
  return directories;
}

/** A target of a job, by itself: that another cannot be looked at is no matter of its. */
export interface EachTarget {
  /** As people know it. */
  name: string;
  /** As `targetsToSearch`; rejects with `usage` when it is not there. */
  directories: (told: ToldOfTargets) => Promise<string[]>;
}

/**
 * The targets that the configuration has for a job. Looks at none of them. Rejects with `usage`, also for a job that it does
 * not have: which targets are its, nobody knows.
 */
export async function eachTargetOf(job: string, configFile: string | undefined): Promise<EachTarget[]> {
  const own = (await configuredJobs(configFile)).filter(({ name }) => name === job);
  if (own.length === 0) {
    throw new FsbackupError('usage', `the configuration has no job ${job}, and tells none of its targets`, {
      hint: 'Correct the name, or name the target that its backups are in with --from.',
    });
  }
  return uniqueTargets(own).map((target) => ({
    name: targetName(target),
    directories: async (told) => {
      await consultCatalogue(target);
      const chosen = await look(target, own);
      if (chosen.absent !== undefined) throw chosen.absent;
      return await directoriesOf(chosen, { from: undefined, configFile, job }, told);
    },
  }));
}

/**
 * The jobs to look for backups of, when none is named: those of the configuration, or those that have one in the target that is
 * named. At least one; rejects with `usage` else.
 */
export async function jobsToSearch(where: WhereBackupsAre, told: ToldOfTargets): Promise<string[]> {
  if (where.from === undefined) {
    const jobs = await configuredJobs(where.configFile);
    if (jobs.length > 0) return jobs.map(({ name }) => name);
    throw new FsbackupError('usage', 'the configuration has no jobs', {
      hint: 'Add one, or name the directory that the backups are in with --from.',
    });
  }
  const found = new Set<string>();
  for (const directory of await targetsToSearch(where, told)) {
    const listed = await listBackups(directory, ({ job }) => void found.add(job));
    for (const { job } of listed) found.add(job);
  }
  if (found.size > 0) return [...found].toSorted();
  throw new FsbackupError('usage', `there is no backup in ${withoutPasswords(where.from)}`, {
    hint: 'Name the directory or the repository that the backups were written to.',
  });
}
