import { cp, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/config');

/** Names of the samples: files, and directories that hold a config.yaml with its conf.d. */
export async function listSamples(kind: 'valid' | 'invalid'): Promise<string[]> {
  return (await readdir(path.join(FIXTURES, kind))).toSorted();
}

/** A sample in a private directory, since a checkout may belong to another user than the tests' root. */
export interface CopiedSample extends AsyncDisposable {
  /** The main file. */
  file: string;
  /** What the comments of its files expect: `FILE:LINE:COLUMN: beginning of a message`. */
  expected: string[];
}

async function readExpectations(directory: string): Promise<string[]> {
  const expected: string[] = [];
  for (const entry of await readdir(directory, { recursive: true })) {
    const file = path.join(directory, entry);
    if (!(await stat(file)).isFile()) continue;
    const text = await readFile(file, 'utf8');
    for (const [, what] of text.matchAll(/# expect: (.*)$/gm)) expected.push(`${file}:${what ?? ''}`);
  }
  return expected;
}

export async function copySample(kind: 'valid' | 'invalid', name: string): Promise<CopiedSample> {
  const directory = await mkdtemp(path.join(tmpdir(), 'fsbackup-config-'));
  const source = path.join(FIXTURES, kind, name);
  await cp(source, name.endsWith('.yaml') ? path.join(directory, 'config.yaml') : directory, {
    recursive: true,
  });
  return {
    file: path.join(directory, 'config.yaml'),
    expected: await readExpectations(directory),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}
