import { runCommand, type CommandOptions, type CommandResult } from '../../system/run-command.js';
import { readVariables, type SecretVariables } from './secrets.js';
import type { BackupTarget, RepositorySettings, SecretSource } from '../../backup-target.js';

/** Runs a program with the variables of a repository. What it says comes without their secrets. */
export type RunWithSecrets = (
  argv: readonly [string, ...string[]],
  options?: CommandOptions,
) => Promise<CommandResult>;

/** Of a target of an engine that has nothing but repositories. */
export function settingsOf({ path, repository }: BackupTarget): RepositorySettings {
  if (repository === undefined) throw new Error(`${path} is no repository`);
  return repository;
}

/** What the variables of a repository are made of. */
export interface VariablesOf {
  settings: RepositorySettings;
  /** The engine's variable for the password. */
  password: string;
  /** More of them, made of those that the settings have: a URL with a password in it, for one. */
  derive?: (env: Readonly<Record<string, string>>) => Readonly<Record<string, string>>;
}

/**
 * Makes what runs the programs of a repository. Secrets are read once, when the first program is run, and reach it
 * through its environment alone.
 */
export function withSecrets(
  { settings, password, derive }: VariablesOf,
  run: typeof runCommand,
): RunWithSecrets {
  let variables: Promise<SecretVariables> | undefined;
  const wanted: Record<string, string | SecretSource> = {
    ...settings.environment,
    ...(settings.password === undefined ? {} : { [password]: settings.password }),
  };
  return async (argv, options = {}) => {
    variables ??= readVariables(wanted, { run, env: process.env });
    const { env, scrub } = await variables;
    const { onStderrLine } = options;
    const result = await run(argv, {
      ...options,
      env: { ...env, ...derive?.(env), ...options.env },
      ...(onStderrLine === undefined ? {} : { onStderrLine: (line) => onStderrLine(scrub(line)) }),
    });
    return { ...result, stderr: scrub(result.stderr) };
  };
}
