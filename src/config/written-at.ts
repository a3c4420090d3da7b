import { FsbackupError } from '../errors.js';
import { type ConfigProblem, formatProblem } from './problems.js';
import type { SourceConfig, TargetConfig } from './types.js';

type Written = SourceConfig | TargetConfig;

/** Beside the values and not in them: a job is the same whatever file it stands in, or none. */
const places = new WeakMap<Written, Omit<ConfigProblem, 'message'>>();

/** Remembers where a source or a target was written. */
export function rememberPlace(value: Written, { file, line, column, path }: ConfigProblem): void {
  places.set(value, { file, line, column, path });
}

/**
 * An error about a source or a target, with the file and line that name it, in the form of a ConfigError. As it was
 * when flags described the job, and when it is no `usage` error: then the host is at fault, and not what is written.
 */
export function atPlace(value: Written, error: unknown): unknown {
  const place = places.get(value);
  if (place === undefined || !(error instanceof FsbackupError) || error.code !== 'usage') return error;
  return new FsbackupError('usage', formatProblem({ ...place, message: error.message }), {
    hint: error.hint,
    cause: error,
  });
}
