import type { Hook } from '@oclif/core';
import { exitCode } from '../exit-codes.js';
import { closest } from '../suggest.js';

/** An unknown command: what, what to do, exit 2. */
const hook: Hook<'command_not_found'> = async function commandNotFound({ id, config }) {
  const typed = id.replaceAll(':', ' ');
  const known = config.commands
    .filter((command) => !command.hidden)
    .map((command) => command.id.replaceAll(':', ' '));
  const near = closest(typed, known);
  const hint =
    near === undefined ? '`fsbackup --help` lists the commands.' : `Did you mean \`fsbackup ${near}\`?`;
  process.stderr.write(`Error: There is no command "${typed}"\n${hint}\n`);
  this.exit(exitCode('usage'));
};

export default hook;
