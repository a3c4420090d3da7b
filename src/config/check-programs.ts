import { shellCommand } from '../system/command-line.js';
import { formatProblem, type ValuePath } from './problems.js';
import type { WrittenJob } from './written-jobs.js';

/** How the programs of commands are looked at; effects at the edge. */
export interface CheckPrograms {
  /** Whether a program of that name would be found where commands are run. */
  isProgram: (name: string) => Promise<boolean>;
  /** Gets what is probably a mistake: the program may be installed later. */
  warn: (message: string) => void;
}

/** A list of words that is run, and where it is written. */
interface WrittenCommand {
  path: ValuePath;
  program: string;
}

/** Keys whose lists of words are run, beside all within `commands`. */
const COMMAND_KEYS: ReadonlySet<PropertyKey> = new Set(['before', 'after', 'command']);

function* commandsIn(value: unknown, path: ValuePath): Generator<WrittenCommand> {
  if (typeof value !== 'object' || value === null) return;
  const isRun = COMMAND_KEYS.has(path.at(-1) ?? '') || path.at(-2) === 'commands';
  const [program] = Array.isArray(value) ? (value as unknown[]) : [];
  if (isRun && typeof program === 'string') yield { path: [...path, 0], program };
  else
    for (const [key, inner] of Object.entries(value))
      yield* commandsIn(inner, [...path, Array.isArray(value) ? Number(key) : key]);
}

/**
 * Warns of each command that was written as one string, as for a shell: its program has a blank in its name, and is none. Only the
 * run would find that out.
 */
export async function checkPrograms(
  jobs: readonly WrittenJob[],
  { isProgram, warn }: CheckPrograms,
): Promise<void> {
  for (const { name, raw, file } of jobs) {
    for (const { path, program } of commandsIn(raw, ['jobs', name])) {
      if (!/\s/.test(program) || program.startsWith('{') || (await isProgram(program))) continue;
      const words = program.trim().split(/\s+/).join(', ');
      const message = `no program is called ${shellCommand([program])}: a command is a list of words, and no shell reads it: [${words}, …]`;
      warn(formatProblem(file.locate({ path, message, at: 'value' })));
    }
  }
}
