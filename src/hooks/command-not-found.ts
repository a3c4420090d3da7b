import type { Hook } from '@oclif/core';
import { exitCode } from '../exit-codes.js';
import { asLines } from '../report/controls.js';
import { closest } from '../suggest.js';

/** What to say of words that name no command, as typed: `['config', 'validte']`. */
export function explainUnknownCommand(
  typed: readonly string[],
  known: readonly string[],
): { message: string; hint: string } {
  // oclif takes the arguments of a command that has none for a part of its name.
  const called = known.find((command) => typed.slice(0, command.split(' ').length).join(' ') === command);
  if (called !== undefined) {
    const extra = typed.slice(called.split(' ').length).join(' ');
    return {
      message: `\`fsbackup ${called}\` takes no argument, but was given: ${extra}`,
      hint: `\`fsbackup ${called} --help\` shows what it takes.`,
    };
  }
  const [first, ...rest] = typed;
  if (first === 'help') {
    return {
      message: 'There is no command "help"',
      hint: `Help is a flag: \`${['fsbackup', ...rest, '--help'].join(' ')}\`.`,
    };
  }
  const near = known.find((command) => {
    const words = command.split(' ');
    return words.every((word, index) => closest(typed[index] ?? '', [word]) !== undefined);
  });
  return {
    message: `There is no command "${typed.join(' ')}"`,
    hint: near === undefined ? '`fsbackup --help` lists the commands.' : `Did you mean \`fsbackup ${near}\`?`,
  };
}

/** An unknown command: what, what to do, exit 2. */
const hook: Hook<'command_not_found'> = async function commandNotFound({ id, config }) {
  const known = config.commands.filter((command) => !command.hidden);
  const { message, hint } = explainUnknownCommand(
    id.split(':'),
    known.map((command) => command.id.replaceAll(':', ' ')),
  );
  process.stderr.write(`Error: ${asLines([message, hint])}\n`);
  this.exit(exitCode('usage'));
};

export default hook;
