import process from 'node:process';
import { IS_IN_GUEST } from './in-guest.js';

/**
 * Options of Node for an emulated guest: without V8's compilers, since each page of code that they write is translated anew. Not for
 * the command line, whose code cache is for a Node without them, and saves more.
 */
export const EMULATED_NODE = ['--no-expose-wasm', '--lite-mode'] as const;

/** The start of a command line that has Node run a program of the tests. */
export const NODE_COMMAND: readonly [string, ...string[]] = [
  process.execPath,
  ...(IS_IN_GUEST ? EMULATED_NODE : []),
];
