import path from 'node:path';
import { loadConfig } from '../config/load.js';
import { DEFAULT_DRILL_TIMEOUT_MS } from '../config/normalise.js';
import type { DrillConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';

/** Where drills are set up: by flags, over what the configuration says of each job. */
export interface DrillFlags {
  /** A target that was named: no configuration is read then, and so no command is run. */
  from?: string | undefined;
  /** The configuration, where it is not the usual one. */
  config?: string | undefined;
  /** Where to restore to. */
  directory?: string | undefined;
}

/** Resolves to how a job's backups are drilled. Rejects as `loadConfig`, and with `usage` for a directory without a name. */
export async function readDrillSettings({
  from,
  config,
  directory,
}: DrillFlags): Promise<(job: string) => DrillConfig> {
  // The working directory is nothing to restore to by mistake.
  if (directory === '') {
    throw new FsbackupError('usage', '--drill-directory names no directory', {
      hint: 'Name one, or leave it out; an unset shell variable may be why it is empty.',
    });
  }
  const jobs = from === undefined ? (await loadConfig({ configFile: config })).jobs : [];
  const place = directory === undefined ? {} : { directory: path.resolve(directory) };
  return (job) => ({
    timeoutMs: DEFAULT_DRILL_TIMEOUT_MS,
    ...jobs.find(({ name }) => name === job)?.drill,
    ...place,
  });
}
