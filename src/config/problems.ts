import { FsbackupError } from '../errors.js';
import { suggested } from '../system/command-line.js';

/** Keys from the top of a document to a value in it. */
export type ValuePath = readonly PropertyKey[];

/** Something wrong with a value, before it is known where the value was written. */
export interface Complaint {
  path: ValuePath;
  message: string;
  /** `key` points at the name (an unknown key), `value` at what it holds. */
  at: 'key' | 'value';
}

/** Something wrong, and where it was written. Lines and columns count from 1. */
export interface ConfigProblem {
  file: string;
  line: number;
  column: number;
  /** `jobs.srv.sources[0].exclude`; empty for the document itself. */
  path: string;
  message: string;
}

/** `jobs.srv.sources[0]`. */
export function formatPath(path: ValuePath): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}

/** `config.yaml:3:5: jobs.srv: …`, the form that editors jump to. */
export function formatProblem(problem: ConfigProblem): string {
  const where = `${problem.file}:${problem.line}:${problem.column}: `;
  return problem.path === '' ? where + problem.message : `${where}${problem.path}: ${problem.message}`;
}

/** A configuration that cannot be used: exit 2, one line for each problem. */
export class ConfigError extends FsbackupError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super('usage', problems.map((problem) => formatProblem(problem)).join('\n'), {
      hint: `Correct the configuration; \`${suggested('config validate')}\` checks it, docs/configuration.md explains it.`,
    });
    this.problems = problems;
  }

  override get lines(): readonly string[] {
    return [...this.problems.map((problem) => formatProblem(problem)), this.hint];
  }
}
