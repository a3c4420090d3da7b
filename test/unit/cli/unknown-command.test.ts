import { expect, it } from 'vitest';
import { explainUnknownCommand } from '../../../src/hooks/command-not-found.js';

const KNOWN = ['config show', 'config validate', 'freeze', 'thaw'];

it.each([
  ['thw', 'Did you mean `fsbackup thaw`?'],
  ['config validte', 'Did you mean `fsbackup config validate`?'],
  ['confg show', 'Did you mean `fsbackup config show`?'],
  ['config frob', '`fsbackup --help` lists the commands.'],
  ['frobnicate', '`fsbackup --help` lists the commands.'],
])('explains "%s"', (typed, hint) => {
  expect(explainUnknownCommand(typed.split(' '), KNOWN)).toEqual({
    message: `There is no command "${typed}"`,
    hint,
  });
});

it.each([
  ['help', 'Help is a flag: `fsbackup --help`.'],
  ['help config show', 'Help is a flag: `fsbackup config show --help`.'],
])('says how to ask for "%s"', (typed, hint) => {
  expect(explainUnknownCommand(typed.split(' '), KNOWN).hint).toBe(hint);
});

it('tells arguments that a command does not take from a command that is not there', () => {
  expect(explainUnknownCommand(['config', 'show', 'x'], KNOWN).message).toBe(
    '`fsbackup config show` takes no argument, but was given: x',
  );
});
