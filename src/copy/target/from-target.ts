import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { closest } from '../../suggest.js';
import { stateDirectory } from '../../system/directories.js';
import { consultCatalogue, hasCatalogue, targetAt } from '../repository/catalogue.js';
import { programOfRepository, refuseOtherProgram } from '../repository/whose-repository.js';
import { readVariables } from '../repository/secrets.js';
import { parseSshPlace } from '../../system/ssh-place.js';
import { canKeepIn, ENGINE_NAMES, wordsNameRepositories, type EngineName } from '../../engine-names.js';
import { commandsOf } from '../../target-commands.js';
import {
  catalogueDirectory,
  isWrittenAsPath,
  repositoryFromFlag,
  type BackupTarget,
  type EngineTarget,
} from '../../backup-target.js';

/** A target as a command line names it, instead of those of the configuration. */
export interface FromTarget {
  /** Undefined: those of the configuration. */
  from: string | undefined;
  /** The engine whose repository it is. */
  engine?: string | undefined;
  /** A file with the password of the repository. */
  passwordFile?: string | undefined;
}

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/** The engine that a command line names. Throws `usage` where there is none. */
function engineNamed(name: string): EngineName {
  const engine = ENGINE_NAMES.find((one) => one === name);
  if (engine !== undefined) return engine;
  const near = closest(name, ENGINE_NAMES);
  throw usage(
    `--engine ${name}: there is no such engine`,
    near === undefined ? `There are: ${ENGINE_NAMES.join(', ')}.` : `Did you mean ${near}?`,
  );
}

/** A repository of `config`, `data` and so on is easily taken for a directory in which there are no backups. */
async function refuseRepository(directory: string): Promise<void> {
  const engine = await programOfRepository(directory);
  if (engine === undefined) return;
  throw usage(
    `${directory} is a repository of ${engine}, and no directory of backups`,
    `Say so: --engine ${engine} --password-file FILE.`,
  );
}

async function directoryTarget(directory: string): Promise<BackupTarget> {
  await refuseRepository(directory);
  return await targetAt(directory);
}

function isDirectory(named: string): boolean {
  return statSync(named, { throwIfNoEntry: false })?.isDirectory() === true;
}

/**
 * Whether a place that is not on another host is a directory of backups. One by tar may be in a directory, or in what
 * commands carry it to, which is called as somebody likes: what is known here by that name is that.
 */
function isDirectoryOfBackups(engine: EngineName, from: string, isKnown: boolean): boolean {
  if (engine === 'rsync' || !canKeepIn(engine, 'repository')) return true;
  if (wordsNameRepositories(engine)) return isWrittenAsPath(from);
  return !isKnown && commandsOf(engine) !== undefined && isDirectory(from);
}

/**
 * The one target that a command line names; its catalogue, if it is a repository and has one, is brought up to date. The engine is known where it
 * was named, or where only one writes to such a place. Rejects with `usage`, also for a password file without a password.
 */
export async function targetFrom(
  { from, engine, passwordFile }: FromTarget & { from: string },
  env: NodeJS.ProcessEnv = process.env,
): Promise<BackupTarget & Partial<EngineTarget>> {
  if (from === '') {
    throw usage(
      '--from names no target',
      'Name the directory or repository, or leave --from out; an unset shell variable may be why it is empty.',
    );
  }
  // Nothing else is written like it, and no directory is.
  const isRemote = parseSshPlace(from) !== undefined && !existsSync(from);
  if (engine === undefined && !isRemote) return await directoryTarget(path.resolve(from));
  const name = engineNamed(engine ?? 'rsync');
  const repository = repositoryFromFlag(name, from);
  const directory = catalogueDirectory(name, repository, stateDirectory(env));
  const isKnown = await hasCatalogue({ path: directory });
  if (!isRemote && isDirectoryOfBackups(name, from, isKnown))
    return await directoryTarget(path.resolve(from));
  if (commandsOf(name) !== undefined && !isKnown) {
    throw usage(
      `no target of ${name} with the name ${from} is known here`,
      'The name is what `repository` says in the configuration that wrote to it; for a directory leave --engine out.',
    );
  }
  // What an earlier run was told of it by the configuration, the command line cannot say.
  const { repository: known = { repository, environment: {} } } = await targetAt(directory);
  const password = passwordFile === undefined ? undefined : { file: path.resolve(passwordFile) };
  const target = {
    path: directory,
    engine: name,
    repository: { ...known, initialise: false, ...(password === undefined ? {} : { password }) },
  };
  await refuseOtherProgram(target);
  // What is mistyped here must not take the place of what was right: `recover` reaches the repository by that.
  if (password !== undefined) await readVariables({ password });
  await consultCatalogue(target);
  return target;
}
