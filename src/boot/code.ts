import path from 'node:path';
import { loadCode } from './code-file.js';

/** The name of the file of code in this directory, with a digest in it: scripts/bundle.ts. */
declare const CODE_FILE: string;

export const { main, parts } = loadCode(path.join(import.meta.dirname, CODE_FILE));
