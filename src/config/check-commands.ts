import type { EngineName } from '../engine-names.js';
import { commandsOf, purposeOf, type TargetCommand } from '../target-commands.js';
import { mistypedPlaceholders, TARGET_PLACEHOLDERS } from './check-placeholders.js';
import type { RawJob } from './schema.js';

type RawTarget = Exclude<RawJob['targets'][number], string>;
type Complain = (key: keyof RawTarget, message: string) => void;

/** What a program knows of its repository, and not a command of the configuration's own. */
const OF_PROGRAMS = ['password', 'options'] as const;

/**
 * What is wrong with the commands of a target that is a repository: told by the key of the target. `ofJob`: the job's
 * rules of retention. Pure.
 */
export function checkCommands(
  target: RawTarget & { engine: EngineName },
  ofJob: RawJob['keep'],
  complain: Complain,
): void {
  const { engine, commands, exitCodes, keep = ofJob } = target;
  const known = commandsOf(engine);
  if (known === undefined) {
    for (const key of ['commands', 'exitCodes'] as const)
      if (target[key] !== undefined) complain(key, `${engine} runs no commands of yours`);
    return;
  }
  const usable = [...known.needed, ...known.optional];
  for (const name of known.needed.filter((one) => commands?.[one] === undefined)) {
    const at = commands === undefined ? 'repository' : 'commands';
    complain(at, `missing: commands.${name}, to ${purposeOf(name)}`);
  }
  for (const name of Object.keys(commands ?? {}))
    if (!usable.includes(name as TargetCommand))
      complain('commands', `${engine} has no use for ${name}; known here: ${usable.join(', ')}`);
  for (const argv of Object.values(commands ?? {}))
    for (const message of mistypedPlaceholders(argv ?? [], TARGET_PLACEHOLDERS))
      complain('commands', message);
  for (const key of OF_PROGRAMS)
    if (target[key] !== undefined)
      complain(key, 'the commands are told nothing of it: a secret is a variable of `environment`');
  if (target.initialise === true)
    complain('initialise', 'what commands reach only they can make, before the first run');
  if (keep !== undefined && commands !== undefined && commands.remove === undefined)
    complain('commands', 'missing: commands.remove, since `keep` has backups removed');
  if (engine !== 'command' && exitCodes?.partial !== undefined)
    complain('exitCodes', `partial is of the engine command alone: ${engine} knows what it could not read`);
}
