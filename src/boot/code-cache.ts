import { createHash } from 'node:crypto';
import path from 'node:path';
import process from 'node:process';

/** Of SHA-256. */
const SEAL_BYTES = 32;

/** What a code cache depends on, beside the code. */
export type Engine = Pick<NodeJS.Process, 'versions' | 'arch' | 'config' | 'execArgv' | 'env'>;

/**
 * What a code cache is of: exactly this Node, its flags, and that file of code, by its name, which has a digest of its content. V8
 * compares its own version, which all of Node 20 has in common (11.3.244.8), and not Node's patches of it, which changed what a
 * cache means: it takes one of Node 20.19 in 20.20, and dies of it. A build by a distribution differs in `process.config`.
 */
function madeOf(file: string, { versions, arch, config, execArgv, env }: Engine): string {
  return JSON.stringify([path.basename(file), versions, arch, config, execArgv, env['NODE_OPTIONS'] ?? '']);
}

function seal(file: string, data: Uint8Array, engine: Engine): Buffer {
  return createHash('sha256').update(madeOf(file, engine)).update('\0').update(data).digest();
}

/** What goes to disk of `data`, V8's code cache of `file`: itself, after a digest of what it is of and of all of it. */
export function sealedCodeCache(file: string, data: Uint8Array, engine: Engine = process): Buffer {
  return Buffer.concat([seal(file, data, engine), data]);
}

/**
 * The code cache of `file` for V8 in what was read from disk. Undefined where that is of another Node, of other flags, of other
 * code, or is not as it was written: V8 itself compares no checksum of it, and runs what a power cut left of it.
 */
export function openCodeCache(file: string, sealed: Buffer, engine: Engine = process): Buffer | undefined {
  const data = sealed.subarray(SEAL_BYTES);
  return sealed.subarray(0, SEAL_BYTES).equals(seal(file, data, engine)) ? data : undefined;
}
