import path from 'node:path';
import { messageOf } from '../errors.js';
import { makeCodeCache } from './code-file.js';

// A program of its own, for what has to be done once, where fsbackup is installed: by whom it belongs to, for the Node that is there.

/** The name of the file of code in this directory, with a digest in it: scripts/bundle.ts. */
declare const CODE_FILE: string;

try {
  makeCodeCache(path.join(import.meta.dirname, CODE_FILE));
} catch (error) {
  process.stderr.write(`fsbackup has no code cache, so each start takes longer: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
