import { type Command, Help } from '@oclif/core';
import { EXIT_CODES } from './exit-codes.js';

/** oclif's help with the exit codes, from their one table: all of them for the program, a pointer for a command. */
export default class FsbackupHelp extends Help {
  override formatRoot(): string {
    const rows = Object.values(EXIT_CODES).map(({ code, meaning }): [string, string] => [
      String(code),
      meaning,
    ]);
    return `${super.formatRoot()}\n\n${this.section('EXIT CODES', rows)}`;
  }

  override formatCommand(command: Command.Loadable): string {
    const { ok, usage } = EXIT_CODES;
    const text = `${ok.code} ${ok.meaning}, ${usage.code} ${usage.meaning}; \`fsbackup --help\` lists all.`;
    return `${super.formatCommand(command)}\n\n${this.section('EXIT CODES', text)}`;
  }
}
