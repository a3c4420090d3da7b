import { statSync } from 'node:fs';
import { loadConfig } from '../../config/load.js';
import type { JobConfig, TargetConfig } from '../../config/types.js';
import { configFile as resolveConfigFile } from '../../config/read-files.js';
import { targetName, type BackupTarget, type EngineTarget } from '../../backup-target.js';
import { FsbackupError, messageOf } from '../../errors.js';
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
  absent?: AbsentTarget;
}

function choice(target: Target, error: FsbackupError | undefined): Chosen {
  if (error === undefined) return { target };
  return { target, absent: { target: targetName(target), message: error.message, hint: error.hint } };
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

async function chooseTargets({ from, ...where }: WhereBackupsAre): Promise<Chosen[]> {
  const { configFile, job } = where;
  if (from !== undefined) return [await named({ ...where, from })];
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
  const { jobs } = await loadConfig({ configFile });
  const own = jobs.filter(({ name }) => name === job);
  const wanted = own.length > 0 ? own : jobs;
  const targets = wanted.flatMap((one) => one.targets);
  for (const target of targets) await consultCatalogue(target);
  if (targets.length === 0) {
    throw new FsbackupError('usage', 'the configuration has no target to look for backups in', {
      hint: 'Name the directory that the backups are in with --from.',
    });
  }
  const unique = [...new Map(targets.map((target) => [target.path, target])).values()];
  return await Promise.all(unique.map((target) => look(target, wanted)));
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

/** Who is told of what stands in the way of finding all backups. */
export interface ToldOfTargets {
  warn: (message: string) => void;
  /** Of targets that are not there, or could not be asked; else they are a warning. */
  onAbsent?: (absent: AbsentTarget) => void;
  /** Of repositories that were not asked, since this host has a catalogue of them: by name. */
  onCatalogue?: (target: string) => void;
}

/**
 * The directories of the targets to look in, each once; of a repository its catalogue, which need not be there. Those of its backups that the catalogue lacks are in a directory of their own, after it
 * (`read-repository.ts`). Targets that are not there come last, and are told: somebody who looks for the latest backup
 * must not take what is found for all there is. Rejects with `usage` when there is no usable configuration.
 */
export async function targetsToSearch(
  where: WhereBackupsAre,
  { warn, onAbsent = ({ message }) => warn(message), onCatalogue }: ToldOfTargets,
): Promise<string[]> {
  const { signal } = new AbortController();
  const directories: string[] = [];
  const chosen = await chooseTargets(where);
  const isThere = ({ absent }: Chosen): boolean => absent === undefined;
  for (const { target, absent } of [...chosen.filter(isThere), ...chosen.filter((one) => !isThere(one))]) {
    if (absent !== undefined) onAbsent(absent);
    directories.push(target.path);
    const { engine } = target;
    if (engine === undefined || target.repository === undefined || absent !== undefined) continue;
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
    directories.push(...found);
  }
  return directories;
}
