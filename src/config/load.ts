import { stateDirectory } from '../system/directories.js';
import { readHungTaskTimeoutMs } from '../system/hung-task.js';
import { checkJob } from './check-job.js';
import { checkPrograms, type CheckPrograms } from './check-programs.js';
import { checkSchedules, type CheckSchedules } from './check-schedules.js';
import { checkTargets } from './check-targets.js';
import { DEFAULT_ATTEMPTS, normaliseJob } from './normalise.js';
import { type OverrideLayer, overrideLayers, type Overrides, readEnvironment } from './overrides.js';
import { fileLayer, resolvePlacedFreeze } from './place-freeze.js';
import { ConfigError, type ConfigProblem } from './problems.js';
import { configFile, readConfigFiles } from './read-files.js';
import type { Config, JobConfig } from './types.js';
import { rememberPlace } from './written-at.js';
import { joinFiles, type WrittenJob } from './written-jobs.js';

/** Where the configuration comes from. */
export interface LoadOptions {
  /** `--config`; else FSBACKUP_CONFIG, else /etc/fsbackup/config.yaml. */
  configFile?: string | undefined;
  /** Defaults to this process's. */
  env?: NodeJS.ProcessEnv;
  /**
   * The jobs that the command freezes for, by their names; empty: all. Only their times are held against what flags and
   * variables say, and against the hung-task limit. Left out: it freezes nothing, and none of that is looked at.
   */
  freezes?: readonly string[] | undefined;
  /** From flags: over the environment, which is over the files. */
  overrides?: Overrides;
  /** The kernel's hung-task limit; null lifts it. Read from /proc when left out. */
  hungTaskTimeoutMs?: number | null;
  /** Whose files are believed; root and this user when left out. */
  trustedUids?: readonly number[];
  /** Has the schedules of jobs checked too; a run does not need them. */
  schedules?: CheckSchedules;
  /** Has the programs of commands looked at too: that gives warnings alone. */
  programs?: CheckPrograms;
}

/** As an editor would walk through them; one bad default that several jobs inherit is one problem. */
function inOrder(problems: readonly ConfigProblem[], files: readonly string[]): ConfigProblem[] {
  const unique = [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
  return unique.toSorted(
    (a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column,
  );
}

/** What is wrong with a path shows only when the job runs: the error can then say where it stands. */
function rememberPlaces({ sources, targets }: JobConfig, { name, file }: WrittenJob): void {
  for (const [key, values] of Object.entries({ sources, targets })) {
    for (const [index, value] of values.entries()) {
      rememberPlace(value, file.locate({ path: ['jobs', name, key, index], message: '', at: 'value' }));
    }
  }
}

/** What holds over the files, and for which jobs it is judged. */
interface FreezeContext {
  overrides: readonly OverrideLayer[];
  attempts: number | undefined;
  /** Undefined: of the defaults, which are judged where all jobs are. */
  isJudged: (job: string | undefined) => boolean;
  /** Null where the job is not judged. */
  hungTaskTimeoutMs: (job: string | undefined) => number | null;
}

async function freezeContext(options: LoadOptions, env: NodeJS.ProcessEnv): Promise<FreezeContext> {
  const { freezes, overrides: flags = {} } = options;
  if (freezes === undefined)
    return { overrides: [], attempts: undefined, isJudged: () => false, hungTaskTimeoutMs: () => null };
  const environment = readEnvironment(env);
  const limit =
    options.hungTaskTimeoutMs === undefined ? await readHungTaskTimeoutMs() : options.hungTaskTimeoutMs;
  const isJudged = (job: string | undefined): boolean =>
    freezes.length === 0 || (job !== undefined && freezes.includes(job));
  return {
    overrides: overrideLayers(flags, environment),
    attempts: flags.attempts ?? environment.attempts,
    isJudged,
    hungTaskTimeoutMs: (job) => (isJudged(job) ? limit : null),
  };
}

/**
 * Reads, checks and normalises the configuration, jobs in the order written, conf.d's after the main file's.
 * Rejects with a ConfigError that names every problem's file, line and column, or with another `usage` error when a
 * file is missing, unreadable or not to be trusted, or a flag or variable cannot hold. Writes nothing.
 */
export async function loadConfig(options: LoadOptions = {}): Promise<Config> {
  const env = options.env ?? process.env;
  const { overrides, attempts, isJudged, hungTaskTimeoutMs } = await freezeContext(options, env);
  const files = await readConfigFiles(configFile(options.configFile, env), options.trustedUids);

  const written = joinFiles(files);
  const top = { file: files.main, path: [] };
  const defaults = fileLayer({ file: files.main, path: ['freeze'] }, written.main?.freeze);
  const problems = [
    ...written.problems,
    // Whether a flag fits them is told with each job that takes them.
    ...resolvePlacedFreeze(overrides, [defaults], {
      hungTaskTimeoutMs: hungTaskTimeoutMs(undefined),
      fallback: top,
      refusesOverrides: false,
    }).problems,
  ];
  const jobs: JobConfig[] = [];
  for (const writtenJob of written.jobs) {
    const { name, raw, file } = writtenJob;
    const path = ['jobs', name];
    const own = fileLayer({ file, path: [...path, 'freeze'] }, raw.freeze);
    const freeze = resolvePlacedFreeze(overrides, [own, defaults], {
      hungTaskTimeoutMs: hungTaskTimeoutMs(name),
      fallback: { file, path },
      refusesOverrides: isJudged(name),
    });
    const job = normaliseJob(name, raw, {
      freeze: freeze.settings,
      attempts: attempts ?? raw.attempts ?? written.main?.attempts ?? DEFAULT_ATTEMPTS,
      stateDirectory: stateDirectory(env),
    });
    const complaints = [...checkTargets(raw, path), ...checkJob(job, path)];
    problems.push(...freeze.problems, ...complaints.map((complaint) => file.locate(complaint)));
    rememberPlaces(job, writtenJob);
    jobs.push(job);
  }
  if (options.schedules !== undefined)
    problems.push(...(await checkSchedules(written.jobs, options.schedules)));
  if (options.programs !== undefined) await checkPrograms(written.jobs, options.programs);
  if (problems.length > 0) {
    throw new ConfigError(
      inOrder(
        problems,
        [files.main, ...files.dropIns].map((file) => file.file),
      ),
    );
  }
  return { version: 1, jobs };
}
