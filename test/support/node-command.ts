import process from 'node:process';

/**
 * The start of a command line that runs a program by Node. In an emulated guest without the compilers of V8: each page of
 * code that they write is translated anew, and the programs are short; a run takes a quarter less processor so.
 */
export const NODE_COMMAND: readonly [string, ...string[]] =
  process.env['FSBACKUP_LAB_GUEST'] === undefined ? [process.execPath] : [process.execPath, '--lite-mode'];
