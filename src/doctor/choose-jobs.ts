import { stat } from 'node:fs/promises';
import path from 'node:path';
import { DEFAULT_MAX_HOLD_MS, DEFAULT_TIMEOUT_MS } from '../config/freeze-settings.js';
import { loadConfig } from '../config/load.js';
import { ConfigError, formatProblem } from '../config/problems.js';
import { configFile } from '../config/read-files.js';
import type { JobConfig } from '../config/types.js';
import { errnoOf, FsbackupError } from '../errors.js';
import { examineCalendar } from '../system/calendar-event.js';
import { isProgram } from '../system/find-command.js';
import { readSpace } from '../system/filesystem-space.js';
import type { ExaminedJob } from './examine-job.js';
import { findFilesystems } from './find-filesystems.js';
import { ok, problem, warning, type Finding } from './finding.js';
import { suggested } from '../system/command-line.js';

/** What the command line asks to be examined. */
export interface DoctorRequest {
  /** Empty: the configured sources, or everything that is mounted. */
  mountpoints: readonly string[];
  /** `--config`. */
  configFile: string | undefined;
  env: NodeJS.ProcessEnv;
}

export interface ChosenJobs {
  jobs: ExaminedJob[];
  /** All of the configuration, asked about or not; none where there is none, or it cannot be read. */
  configured: readonly JobConfig[];
  configuration: Finding;
}

/** A job for one mountpoint alone, with the defaults of a run. */
function jobFor(directory: string, isAsked: boolean): ExaminedJob {
  const source = {
    path: directory,
    snapshot: 'auto',
    freezeMode: 'auto',
    exclude: [],
    recursive: false,
  } as const;
  const job: JobConfig = {
    name: 'doctor',
    sources: [source],
    targets: [],
    quiesce: [],
    freeze: { timeoutMs: DEFAULT_TIMEOUT_MS, maxHoldMs: DEFAULT_MAX_HOLD_MS },
    attempts: 1,
  };
  return { job, isConfigured: false, isAsked };
}

/** A path that is none is a mistake of the command line, and not of the host. */
async function requireDirectory(directory: string): Promise<void> {
  // Asked by a child first: on a filesystem that hangs, stat(2) would hang us. That it does is told of it later.
  const answers = await readSpace(directory).then(
    () => true,
    () => false,
  );
  if (!answers) return;
  const fail = (what: string): FsbackupError =>
    new FsbackupError('usage', `${directory} ${what}`, {
      hint: 'Name the mountpoint of a filesystem, or a directory on it.',
    });
  try {
    if (!(await stat(directory)).isDirectory()) throw fail('is not a directory');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') throw fail('does not exist');
    // What else is wrong with it is told of it.
    if (error instanceof FsbackupError) throw error;
  }
}

async function exists(file: string): Promise<boolean> {
  return await stat(file).then(
    () => true,
    (error: unknown) => errnoOf(error) !== 'ENOENT',
  );
}

async function readJobs({
  configFile: flag,
  env,
}: DoctorRequest): Promise<{ jobs: readonly JobConfig[]; finding: Finding }> {
  const check = 'configuration';
  const file = configFile(flag, env);
  if (!(await exists(file))) {
    if (flag !== undefined) {
      throw new FsbackupError('usage', `There is no configuration file ${file}`, {
        hint: 'Correct --config, or leave it out.',
      });
    }
    return { jobs: [], finding: ok(check, `none in ${file}`, { fix: suggested('config init') }) };
  }
  try {
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const schedules = { examine: examineCalendar, warn };
    const programs = { isProgram, warn };
    const { jobs } = await loadConfig({ configFile: flag, env, schedules, programs });
    const summary = `${file}: ${jobs.map(({ name }) => name).join(', ')}`;
    const finding =
      warnings.length === 0 ? ok(check, summary) : warning(check, summary, { detail: warnings.join('; ') });
    return { jobs, finding };
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    const summary =
      error instanceof ConfigError ? error.problems.map(formatProblem).join('; ') : error.message;
    return {
      jobs: [],
      finding: problem(check, summary, { detail: error.hint, fix: suggested('config validate') }),
    };
  }
}

/** What is to be examined. Rejects with `usage` for a path or a --config that does not exist. */
export async function chooseJobs(request: DoctorRequest): Promise<ChosenJobs> {
  const asked = request.mountpoints.map((directory) => path.resolve(directory));
  for (const directory of asked) await requireDirectory(directory);
  const { jobs, finding } = await readJobs(request);
  const examined = jobs.map((job) => ({ job, isConfigured: true, isAsked: true }));
  const chosen =
    asked.length > 0
      ? [...new Set(asked)].map((directory) => jobFor(directory, true))
      : examined.length > 0
        ? examined
        : (await findFilesystems()).map((directory) => jobFor(directory, false));
  return { jobs: chosen, configured: jobs, configuration: finding };
}
