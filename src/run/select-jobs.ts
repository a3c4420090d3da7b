import { jobFromFlags, type JobFlags } from '../config/from-flags.js';
import { loadConfig } from '../config/load.js';
import type { Overrides } from '../config/overrides.js';
import type { JobConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import { closest } from '../suggest.js';
import { suggested } from '../system/command-line.js';
import { readHungTaskTimeoutMs } from '../system/hung-task.js';

/** How a command line says which jobs it means. */
export interface JobSelection {
  /** Of the configuration's; empty: all of them. */
  names: readonly string[];
  configFile: string | undefined;
  /** A job described by flags alone; undefined when none of them was given. */
  flags: Partial<Omit<JobFlags, keyof Overrides>> | undefined;
  overrides: Overrides;
  env: NodeJS.ProcessEnv;
}

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

async function describedJob(
  flags: NonNullable<JobSelection['flags']>,
  { names, overrides, env }: JobSelection,
): Promise<JobConfig> {
  if (names.length > 0) {
    throw usage(
      `${names.join(', ')}: a job of the configuration, and one described by flags`,
      'Name jobs of the configuration, or describe one with --job, --source and --to.',
    );
  }
  const { job, source, to } = flags;
  if (job === undefined || source === undefined || to === undefined) {
    throw usage(
      'a job described by flags needs --job, --source and --to',
      'For example: fsbackup run --job srv --source /srv --to /backup',
    );
  }
  return jobFromFlags(
    { ...flags, job, source, to, ...overrides },
    { env, hungTaskTimeoutMs: await readHungTaskTimeoutMs() },
  );
}

/** Those of `jobs` that are named, in the order named, each once; all of them when none is. Throws `usage`. */
export function pickJobs(jobs: readonly JobConfig[], names: readonly string[]): JobConfig[] {
  if (jobs.length === 0)
    throw usage(
      'the configuration has no jobs',
      `Write one into it, or uncomment the example there, then run \`${suggested('config validate')}\`.`,
    );
  if (names.length === 0) return [...jobs];
  return [...new Set(names)].map((name) => {
    const job = jobs.find((candidate) => candidate.name === name);
    if (job !== undefined) return job;
    const known = jobs.map((candidate) => candidate.name);
    const near = closest(name, known);
    throw usage(
      `there is no job ${name}`,
      near === undefined ? `The configuration has: ${known.join(', ')}.` : `Did you mean ${near}?`,
    );
  });
}

/** The jobs that a command line means. Rejects with `usage`. */
export async function selectJobs(selection: JobSelection): Promise<JobConfig[]> {
  const { flags, configFile, overrides, env, names } = selection;
  if (flags !== undefined) return [await describedJob(flags, selection)];
  const { jobs } = await loadConfig({ configFile, env, overrides, freezes: names });
  return pickJobs(jobs, names);
}
