import path from 'node:path';
import { canKeepIn, ENGINE_NAMES, wordsNameRepositories, type EngineName } from '../engine-names.js';
import { isWrittenAsPath, repositoryFromFlag } from '../backup-target.js';
import { parseSshPlace } from '../system/ssh-place.js';
import { FsbackupError } from '../errors.js';
import { stateDirectory } from '../system/directories.js';
import { checkJob } from './check-job.js';
import { checkTargets } from './check-targets.js';
import { checkShape } from './check-shape.js';
import { type FlagContext, freezeFromFlags } from './freeze-from-flags.js';
import { DEFAULT_ATTEMPTS, normaliseJob } from './normalise.js';
import { type Overrides, readEnvironment } from './overrides.js';
import type { Complaint } from './problems.js';
import { JOB_NAME_PATTERN, jobSchema } from './schema.js';
import type { JobConfig } from './types.js';

/** A job given by flags alone. */
export interface JobFlags extends Overrides {
  job: string;
  /** Relative paths are taken from `cwd`. */
  source: readonly string[];
  /** As `source`. */
  to: readonly string[];
  engine?: string | undefined;
  /** Of the repository: a file with its password, and whether it may be made. */
  passwordFile?: string | undefined;
  initialise?: boolean | undefined;
  /** For every source. */
  exclude?: readonly string[] | undefined;
  snapshot?: string | undefined;
  recursive?: boolean | undefined;
  mustBeMountpoint?: boolean | undefined;
  /** For every target: `5MiB`. */
  limit?: string | undefined;
  /** Defaults to the process's. */
  cwd?: string;
}

/** The flag that a value of the job came from, by its key. */
const FLAG_OF_KEY: Readonly<Record<string, string>> = {
  sources: '--source',
  targets: '--to',
  engine: '--engine',
  password: '--password-file',
  initialise: '--initialise',
  limit: '--limit',
  exclude: '--exclude',
  snapshot: '--snapshot',
};

function flagOf({ path: keys }: Complaint): string {
  const flags = keys.map((key) => FLAG_OF_KEY[String(key)]).filter((flag) => flag !== undefined);
  return flags.at(-1) ?? '--job';
}

/** Flags that cannot be used: exit 2, one line for each problem. */
class FlagsError extends FsbackupError {
  readonly #problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('usage', problems.join('\n'), {
      hint: '`fsbackup run --help` shows what it takes; a configuration file can say more.',
    });
    this.#problems = problems;
  }

  override get lines(): readonly string[] {
    return [...this.#problems, this.hint];
  }
}

function refuse(complaints: readonly Complaint[]): void {
  if (complaints.length === 0) return;
  const lines = new Set(complaints.map((complaint) => `${flagOf(complaint)}: ${complaint.message}`));
  throw new FlagsError([...lines]);
}

/** What is defined of an object: an absent flag must not stand in for a key. */
function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** The engine whose repository a target is: it has no other place for backups, that is of another host, or no path. */
function repositoryEngine(engine = 'rsync', target: string): EngineName | undefined {
  const known = ENGINE_NAMES.find((name) => name === engine);
  if (known === undefined) return undefined;
  const isRepository =
    !canKeepIn(known, 'path') ||
    (known === 'rsync' && parseSshPlace(target) !== undefined) ||
    (wordsNameRepositories(known) && !isWrittenAsPath(target));
  return isRepository ? known : undefined;
}

function placeOf(target: string, flags: JobFlags, cwd: string): { repository: string } | { path: string } {
  const engine = repositoryEngine(flags.engine, target);
  return engine === undefined
    ? { path: path.resolve(cwd, target) }
    : { repository: repositoryFromFlag(engine, target) };
}

/** The job that flags describe, checked and completed as one from a file is. Throws `usage`. */
export function jobFromFlags(flags: JobFlags, context: FlagContext): JobConfig {
  // Our own, which may be gone, is asked for only where a path is relative.
  const { cwd = '' } = flags;
  if (!JOB_NAME_PATTERN.test(flags.job)) {
    throw new FsbackupError('usage', `--job: "${flags.job}" is not a job name`, {
      hint: 'Take letters, digits, ".", "_" and "-", the first a letter or digit, 64 at most: it names a directory.',
    });
  }
  for (const [flag, paths] of [
    ['--source', flags.source],
    ['--to', flags.to],
  ] as const) {
    // It would be the working directory, which nobody means who writes nothing.
    if (!paths.includes('')) continue;
    throw new FsbackupError('usage', `${flag} names no directory`, {
      hint: 'Name one; an unset shell variable may be why it is empty.',
    });
  }
  const checked = checkShape(jobSchema, {
    sources: flags.source.map((source) =>
      given({
        path: path.resolve(cwd, source),
        exclude: flags.exclude,
        snapshot: flags.snapshot,
        recursive: flags.recursive,
      }),
    ),
    targets: flags.to.map((target) =>
      given({
        ...placeOf(target, flags, cwd),
        engine: flags.engine,
        mustBeMountpoint: flags.mustBeMountpoint,
        initialise: flags.initialise,
        limit: flags.limit,
        password:
          flags.passwordFile === undefined ? undefined : { file: path.resolve(cwd, flags.passwordFile) },
      }),
    ),
  });
  if (!('value' in checked)) {
    refuse(checked.complaints);
    throw new Error('a refused job has complaints');
  }
  const job = normaliseJob(flags.job, checked.value, {
    freeze: freezeFromFlags(flags, context),
    attempts: flags.attempts ?? readEnvironment(context.env).attempts ?? DEFAULT_ATTEMPTS,
    stateDirectory: stateDirectory(context.env),
  });
  refuse([...checkTargets(checked.value, []), ...checkJob(job, [])]);
  return job;
}
