import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { openCodeCache } from '../../../src/boot/code-cache.js';
import { codeCacheOf } from '../../../src/boot/code-file.js';

/** The build goes before the tests. */
const BUILT = path.resolve(import.meta.dirname, '../../../dist');

/** The one file that nearly all code is in. */
function codeFile(): string {
  const [name = '', ...others] = readdirSync(BUILT).filter((file) => /^code-[\da-f]+\.js$/.test(file));
  expect(others).toEqual([]);
  return path.join(BUILT, name);
}

it('has of zod, which each command loads, no language but the one that is spoken', () => {
  const code = readFileSync(codeFile(), 'utf8');
  const languages = code.match(/(?<=^ *\/\/ node_modules\/zod\/.*\/locales\/)(?!index\.).+$/gm) ?? [];
  expect(languages).toEqual(['en.js']);
});

it('has a code cache that this Node takes, since each start without one takes half as long again', () => {
  const sealed = readFileSync(codeCacheOf(codeFile()));
  // As each start has it: without the flags of the tests.
  const { versions, arch, config } = process;
  const opened = openCodeCache(codeFile(), sealed, { versions, arch, config, execArgv: [], env: {} });
  expect(opened).toBeDefined();
  const program = `
    const { readFileSync } = require('node:fs');
    const [, file] = process.argv;
    const cachedData = readFileSync(0);
    const script = new (require('node:vm').Script)(readFileSync(file, 'latin1'), { cachedData });
    console.log(script.cachedDataRejected);`;
  const { stdout } = spawnSync(process.execPath, ['--eval', program, codeFile()], {
    encoding: 'utf8',
    env: {},
    input: opened,
    timeout: 60_000,
  });
  expect(stdout).toBe('false\n');
});

it('has what must exist once, the class of errors and the thaw that began early, in the file that is loaded first', () => {
  for (const source of ['errors.ts', 'freeze/early-thaw.ts']) {
    expect(readFileSync(path.join(BUILT, 'early.cjs'), 'utf8')).toContain(`\n// src/${source}\n`);
    expect(readFileSync(codeFile(), 'latin1')).not.toContain(`// src/${source}\n`);
  }
});

it('keeps characters that are not ASCII', () => {
  const { stdout } = spawnSync(
    process.execPath,
    [path.join(BUILT, '../bin/run.js'), 'schedule', 'install', '--help'],
    {
      encoding: 'utf8',
      env: { FORCE_COLOR: '0', COLUMNS: '1000' },
      timeout: 60_000,
    },
  );
  expect(stdout).toContain('"Mon..Fri 22:00", …, see systemd.time(7)');
});
