import { stateDirectory } from '../system/directories.js';
import { readHungTaskTimeoutMs } from '../system/hung-task.js';
import { checkJob } from './check-job.js';
import { checkSchedules, type CheckSchedules } from './check-schedules.js';
import { checkTargets } from './check-targets.js';
import { DEFAULT_ATTEMPTS, normaliseJob } from './normalise.js';
import { overrideLayers, type Overrides, readEnvironment } from './overrides.js';
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
  /** From flags: over the environment, which is over the files. */
  overrides?: Overrides;
  /** The kernel's hung-task limit; null lifts it. Read from /proc when left out. */
  hungTaskTimeoutMs?: number | null;
  /** Whose files are believed; root and this user when left out. */
  trustedUids?: readonly number[];
  /** Has the schedules of jobs checked too; a run does not need them. */
  schedules?: CheckSchedules;
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

/**
 * Reads, checks and normalises the configuration, jobs in the order written, conf.d's after the main file's.
 * Rejects with a ConfigError that names every problem's file, line and column, or with another `usage` error when a
 * file is missing, unreadable or not to be trusted, or a flag or variable cannot hold. Writes nothing.
 */
export async function loadConfig(options: LoadOptions = {}): Promise<Config> {
  const env = options.env ?? process.env;
  const flags = options.overrides ?? {};
  const environment = readEnvironment(env);
  const hungTaskTimeoutMs =
    options.hungTaskTimeoutMs === undefined ? await readHungTaskTimeoutMs() : options.hungTaskTimeoutMs;
  const files = await readConfigFiles(configFile(options.configFile, env), options.trustedUids);

  const written = joinFiles(files);
  const overrides = overrideLayers(flags, environment);
  const top = { file: files.main, path: [] };
  const defaults = fileLayer({ file: files.main, path: ['freeze'] }, written.main?.freeze);
  const problems = [
    ...written.problems,
    ...resolvePlacedFreeze(overrides, [defaults], { hungTaskTimeoutMs, fallback: top }).problems,
  ];
  const jobs: JobConfig[] = [];
  for (const writtenJob of written.jobs) {
    const { name, raw, file } = writtenJob;
    const path = ['jobs', name];
    const own = fileLayer({ file, path: [...path, 'freeze'] }, raw.freeze);
    const freeze = resolvePlacedFreeze(overrides, [own, defaults], {
      hungTaskTimeoutMs,
      fallback: { file, path },
    });
    const attempts =
      flags.attempts ?? environment.attempts ?? raw.attempts ?? written.main?.attempts ?? DEFAULT_ATTEMPTS;
    const job = normaliseJob(name, raw, {
      freeze: freeze.settings,
      attempts,
      stateDirectory: stateDirectory(env),
    });
    const complaints = [...checkTargets(raw, path), ...checkJob(job, path)];
    problems.push(...freeze.problems, ...complaints.map((complaint) => file.locate(complaint)));
    rememberPlaces(job, writtenJob);
    jobs.push(job);
  }
  if (options.schedules !== undefined)
    problems.push(...(await checkSchedules(written.jobs, options.schedules)));
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
