import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireTrustedDirectories, runDirectory, stateDirectory } from '../../../src/system/directories.js';
import { makeDirectories } from '../../../src/system/make-directories.js';

it.each([
  [{}, '/run/fsbackup', '/var/lib/fsbackup'],
  [{ FSBACKUP_RUN_DIR: '', FSBACKUP_STATE_DIR: '' }, '/run/fsbackup', '/var/lib/fsbackup'],
  [{ FSBACKUP_RUN_DIR: '/a/', FSBACKUP_STATE_DIR: '/b' }, '/a', '/b'],
])('%j: the run directory is %s, the state directory %s', (env, run, state) => {
  expect([runDirectory(env), stateDirectory(env)]).toEqual([run, state]);
});

describe('directories that are made', () => {
  let root: string;

  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'directories-'));
  });
  afterEach(() => rm(root, { recursive: true }));

  it('are all that are missing, with the mode; the first of them is told', async () => {
    const deep = path.join(root, 'a/b/c');
    expect(await makeDirectories(deep, 0o700)).toBe(path.join(root, 'a'));
    expect((await stat(path.join(root, 'a/b'))).mode & 0o7777).toBe(0o700);
    expect(await makeDirectories(deep, 0o700)).toBeUndefined();
    expect(await makeDirectories(path.join(deep, 'd'), 0o700)).toBe(path.join(deep, 'd'));
  });

  it('are not where a file is in the way', async () => {
    await writeFile(path.join(root, 'file'), '');
    await expect(makeDirectories(path.join(root, 'file'), 0o700)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(makeDirectories(path.join(root, 'file/x'), 0o700)).rejects.toMatchObject({
      code: 'ENOTDIR',
    });
  });

  it('end at a filesystem that makes none, where Node would go on for ever', async () => {
    await expect(makeDirectories('/proc/fsbackup/x', 0o700)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it.each(['FSBACKUP_RUN_DIR', 'FSBACKUP_STATE_DIR'])('are told where %s is none', async (variable) => {
    const file = path.join(root, 'file');
    await writeFile(file, '');
    const others = { FSBACKUP_RUN_DIR: path.join(root, 'run'), FSBACKUP_STATE_DIR: path.join(root, 'state') };
    for (const none of [file, path.join(file, 'below')]) {
      await expect(requireTrustedDirectories({ ...others, [variable]: none })).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringMatching(/^the (?:run|state) directory .* is not a directory$/) as string,
        hint: expect.stringContaining(variable) as string,
      });
    }
    await expect(requireTrustedDirectories(others)).resolves.toBeUndefined();
  });
});
