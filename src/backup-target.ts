import { createHash } from 'node:crypto';
import path from 'node:path';
import type { BackupRef } from './copy/backup/backup-layout.js';
import { isRepositoryDirectory, type EngineName } from './engine-names.js';
import { FsbackupError } from './errors.js';
import { withoutPasswords } from './system/command-line.js';
import type { TargetCommands, TargetExitCodes } from './target-commands.js';

/** Where a secret is read from, at the time that it is needed. */
export type SecretSource =
  | { file: string }
  /** A program and its arguments; the secret is what it prints. */
  | { command: readonly string[] }
  /** The name of a credential that systemd hands to the unit. */
  | { credential: string };

/** What an engine is told of its repository. Holds no secret, only where secrets are read from. */
export interface RepositorySettings {
  /** As the engine writes it: `/srv/restic`, `sftp:host:/srv/restic`, `rest:https://host:8000/`. */
  repository: string;
  /** Whether a repository may be made where there is none. */
  initialise: boolean;
  password?: SecretSource;
  /** Variables for the engine's program. */
  environment: Readonly<Record<string, string | SecretSource>>;
  /** Extended options of the engine's program: `sftp.command` of restic, for one. No secrets: others see them. */
  options?: Readonly<Record<string, string>>;
  /** Of an engine that reaches it by commands: `repository` is then no more than what people call it. */
  commands?: TargetCommands;
  exitCodes?: TargetExitCodes;
}

/**
 * Where the backups of a job go. The directory holds `<job>/<backupId>` for each of them: the backups themselves or,
 * with a repository, the catalogue of what is in it.
 */
export interface BackupTarget {
  /** Absolute path of the directory. */
  path: string;
  /** Absent: the backups lie in the directory. */
  repository?: RepositorySettings;
}

/** A target and what copies into it: all that an engine is made of. */
export interface EngineTarget extends BackupTarget {
  engine: EngineName;
}

export function hasPassword(repository: string): boolean {
  return withoutPasswords(repository) !== repository;
}

/** What people are told of a target: its directory or, with a repository, that one and never the catalogue. */
export function targetName({ path: directory, repository }: BackupTarget): string {
  return repository === undefined ? directory : withoutPasswords(repository.repository);
}

/** The target that a backup lies in. */
export function targetOf({
  target,
  repository,
}: Pick<BackupRef, 'target'> & Pick<BackupTarget, 'repository'>): BackupTarget {
  return { path: target, ...(repository === undefined ? {} : { repository }) };
}

/** The directory of a repository that lies on this host; undefined for one elsewhere, or in no directory. */
export function localRepository({ repository }: Pick<BackupTarget, 'repository'>): string | undefined {
  const name = repository?.repository.replace(/^(?:local:|file:\/\/)(?=\/)/, '');
  return name?.startsWith('/') === true ? name : undefined;
}

/** Where, in the state directory, the catalogues are. */
export const CATALOGUES = 'catalogue';
/** The same for what repositories hold beside that. */
export const FOUND = 'found';

/** Beside a catalogue: backups of its repository that this host did not make, or has forgotten. */
export function foundDirectory(catalogue: string): string {
  return path.join(path.dirname(path.dirname(catalogue)), FOUND, path.basename(catalogue));
}

/** The directory of the catalogue of a repository: readable, and another one for every engine and repository. */
export function catalogueDirectory(engine: EngineName, repository: string, stateDirectory: string): string {
  const slug = withoutPasswords(repository)
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replaceAll(/^[-.]+|[-.]+$/g, '')
    .slice(-60);
  const hash = createHash('sha256').update(`${engine}\0${repository}`).digest('hex').slice(0, 8);
  return path.join(stateDirectory, CATALOGUES, `${engine}-${slug}-${hash}`);
}

/** Whether it can be nothing but a path: `/…`, `./…`, `../…`, `.` and `..`. */
export function isWrittenAsPath(text: string): boolean {
  return /^(?:\/|\.{1,2}(?:\/|$))/.test(text);
}

/** What an engine is to be told of as its repository: a path that is relative to the working directory is made absolute. Throws `usage` for a password in it. */
export function repositoryFromFlag(engine: EngineName, named: string): string {
  if (hasPassword(named)) {
    throw new FsbackupError(
      'usage',
      'a password in an address is seen by everybody who looks at the processes',
      { hint: 'Write a target with the secret in the configuration: see docs/configuration.md.' },
    );
  }
  if (!isRepositoryDirectory(engine)) return named;
  return isWrittenAsPath(named) || !named.includes(':') ? path.resolve(named) : named;
}
