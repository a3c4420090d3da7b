import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Script } from 'node:vm';
import { openCodeCache, sealedCodeCache } from './code-cache.js';

/** What the file of code of fsbackup exports: scripts/bundle.ts. */
export interface Code {
  main: () => Promise<void>;
  /** Each runs a module that oclif finds by its name, once, and returns it. */
  parts: Readonly<Record<string, () => { default: unknown }>>;
}

type Wrapper = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: unknown },
  filename: string,
  dirname: string,
) => void;

/**
 * Where V8's code cache of a file of code lies. V8 takes any that was made of a source as long as the file's
 * (`SerializedCodeData::SourceHash`), so what is in the file must be told by its name: it has a digest in it.
 */
export function codeCacheOf(file: string): string {
  return `${file}.cache`;
}

/** Its code cache, if there is one that this Node made of it and that is whole. */
function readCodeCache(file: string): Buffer | undefined {
  try {
    return openCodeCache(file, readFileSync(codeCacheOf(file)));
  } catch {
    // Whatever the reason, the code runs without it too.
    return undefined;
  }
}

function compile(file: string, cachedData?: Buffer): Script {
  // Read as UTF-8 it would be decoded, and with one character beyond latin1 take twice the memory.
  const source = readFileSync(file, 'latin1');
  return new Script(source, { filename: file, ...(cachedData === undefined ? {} : { cachedData }) });
}

function run(script: Script, file: string): Code {
  const module: { exports: unknown } = { exports: {} };
  const wrapper = script.runInThisContext() as Wrapper;
  wrapper(module.exports as object, createRequire(file), module, file, path.dirname(file));
  return module.exports as Code;
}

/**
 * Runs a file of code: in latin1, an expression that is the wrapper of a CommonJS module. By its code cache, where there is one
 * that this Node made of it, with the flags that it has now, and that is as it was made; else it is compiled.
 */
export function loadCode(file: string): Code {
  return run(compile(file, readCodeCache(file)), file);
}

/**
 * Makes the code cache of a file of code: what V8 makes of it while all its parts are run once. For this version of Node, with the
 * flags that it has now. Replaces the one that is there at once, so that a start beside it finds the old or the new one.
 */
export function makeCodeCache(file: string): void {
  const script = compile(file);
  for (const part of Object.values(run(script, file).parts)) part();
  const cache = codeCacheOf(file);
  const scratch = `${cache}.${process.pid}`;
  try {
    writeFileSync(scratch, sealedCodeCache(file, script.createCachedData()), { mode: 0o644 });
    renameSync(scratch, cache);
  } catch (error) {
    rmSync(scratch, { force: true });
    throw error;
  }
}
