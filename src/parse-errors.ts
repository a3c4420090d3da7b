import { stripVTControlCharacters } from 'node:util';
import { exitCode } from './exit-codes.js';
import type { ErrorReport } from './report/run-report.js';
import { closest } from './suggest.js';

/** What of a command its parse errors are explained with. */
export interface CommandSurface {
  /** As a person types it: `config validate`. */
  id: string;
  flags: readonly string[];
}

/** oclif wraps what a flag's own parser throws in `Parsing --flag \n\tMESSAGE\nSee more help with --help`. */
const FLAG_PARSER_WRAP = /^Parsing (--\S+)\s+/;

/** The lines of an oclif message that say something: no escapes, no invitation to --help, no bare headings. */
function sayingLines(message: string): string[] {
  return stripVTControlCharacters(message)
    .replace(FLAG_PARSER_WRAP, '$1: ')
    .split('\n')
    .map((line) => line.trim())
    .filter(
      (line) => line !== '' && !line.startsWith('See more help') && !/^The following errors?/.test(line),
    );
}

/** An own message that passed through oclif's flag parser, without what that put around it. */
export function unwrapFlagMessage(message: string): string {
  return FLAG_PARSER_WRAP.test(message) ? sayingLines(message).join(' ') : message;
}

function missingArguments(error: Error): string[] | undefined {
  if (!error.message.startsWith('Missing ') || !('args' in error) || !Array.isArray(error.args))
    return undefined;
  return error.args.map((arg: { name: string }) => arg.name.toUpperCase());
}

/** oclif names a required flag without its dashes. */
function withDashes(line: string): string {
  return line.replace(/^Missing required flag (?=\w)/, 'Missing flag: --');
}

function unknownFlags(error: Error): string[] {
  if (!('flags' in error) || !Array.isArray(error.flags)) return [];
  return error.flags.filter((flag) => typeof flag === 'string');
}

/** Turns an oclif parse error, whose text is several lines and coloured, into one line of what and one of what to do. */
export function describeParseError(error: Error, command: CommandSurface): ErrorReport {
  const help = `\`fsbackup ${command.id} --help\` shows what it takes.`;
  const missing = missingArguments(error);
  const near = unknownFlags(error)
    .map((flag) => closest(flag.replace(/^-+/, ''), command.flags))
    .find((flag) => flag !== undefined);
  return {
    code: 'usage',
    exitCode: exitCode('usage'),
    message:
      missing === undefined
        ? sayingLines(error.message).map(withDashes).join('; ')
        : `Missing argument: ${missing.join(', ')}`,
    hint: near === undefined ? help : `Did you mean --${near}? ${help}`,
  };
}
