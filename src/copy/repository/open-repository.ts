import { FsbackupError } from '../../errors.js';
import type { CommandResult } from '../../system/run-command.js';

/** How an engine's program tells of its repository. */
export interface RepositoryQuestions {
  /** What tells it from every other one; or how the program ended that was to say. */
  id: () => Promise<string | CommandResult>;
  /** Whether that end means that there is none. */
  isMissing: (result: CommandResult) => boolean;
  /** Makes it; never over an existing one. */
  make: () => Promise<CommandResult>;
  unusable: (result: CommandResult, hint?: string) => FsbackupError;
  /** How people make one by hand. */
  makeCommand: string;
}

/** There is no repository, which is no failure where one is to be made. */
export class NoRepositoryError extends FsbackupError {}

/** See `CopyEngine.openRepository`. */
export async function openRepository(
  { id, isMissing, make, unusable, makeCommand }: RepositoryQuestions,
  initialise: boolean,
): Promise<string> {
  const found = await id();
  if (typeof found === 'string') return found;
  if (!isMissing(found)) throw unusable(found);
  if (!initialise) {
    const { code, message, hint } = unusable(
      found,
      `Make it with \`${makeCommand}\`, or say \`initialise: true\` (--initialise).`,
    );
    throw new NoRepositoryError(code, message, { hint });
  }
  const made = await make();
  if (made.exitCode !== 0) throw unusable(made);
  const name = await id();
  if (typeof name === 'string') return name;
  throw unusable(name);
}
