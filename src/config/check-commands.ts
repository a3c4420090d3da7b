import type { EngineName } from '../engine-names.js';
import { commandsOf, purposeOf, type TargetCommand } from '../target-commands.js';
import type { RawJob } from './schema.js';

type RawTarget = Exclude<RawJob['targets'][number], string>;

/** What a repository has that a program knows, and not a command of the configuration's own. */
const OF_PROGRAMS = ['initialise', 'password', 'options'] as const;

/**
 * What is wrong with the commands of a target that is a repository: keys of the target, each with a message. `ofJob`:
 * the job's rules of retention. Pure.
 */
export function checkCommands(
  target: RawTarget & { engine: EngineName },
  ofJob: RawJob['keep'],
): [key: keyof RawTarget, message: string][] {
  const { engine, commands, exitCodes, keep = ofJob } = target;
  const known = commandsOf(engine);
  if (known === undefined) {
    return [
      ...(commands === undefined ? [] : [['commands', `${engine} runs no commands of yours`] as const]),
      ...(exitCodes === undefined ? [] : [['exitCodes', `${engine} runs no commands of yours`] as const]),
    ].map(([key, message]) => [key, message]);
  }
  const given = Object.keys(commands ?? {}) as TargetCommand[];
  const missing = known.needed.filter((name) => !given.includes(name));
  const stray = given.filter((name) => ![...known.needed, ...known.optional].includes(name));
  const complaints: [keyof RawTarget, string][] = [
    ...missing.map((name): [keyof RawTarget, string] => [
      commands === undefined ? 'repository' : 'commands',
      `missing: commands.${name}, to ${purposeOf(name)}`,
    ]),
    ...stray.map((name): [keyof RawTarget, string] => [
      'commands',
      `${engine} has no use for ${name}; known here: ${[...known.needed, ...known.optional].join(', ')}`,
    ]),
    ...OF_PROGRAMS.filter((key) => target[key] !== undefined).map((key): [keyof RawTarget, string] => [
      key,
      `the commands are told nothing of it: a secret is a variable of \`environment\``,
    ]),
  ];
  if (keep !== undefined && commands !== undefined && commands.remove === undefined)
    complaints.push(['commands', 'missing: commands.remove, since `keep` has backups removed']);
  if (engine !== 'command' && exitCodes?.partial !== undefined)
    complaints.push([
      'exitCodes',
      `partial is of the engine command alone: what ${engine} cannot read it knows itself`,
    ]);
  return complaints;
}
