import { chmod, link, mkdir, mkdtemp, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { must } from '../../support/throwaway-filesystem.js';
import { describeTree, differencesOf } from '../../support/tree.js';

const ODD_NAME = 'odd é\n\\name';
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'tree-'));
  await mkdir(path.join(directory, 'sub'));
  await writeFile(path.join(directory, 'sub', ODD_NAME), 'text');
  await writeFile(path.join(directory, 'holes'), '');
  await truncate(path.join(directory, 'holes'), 1024 * 1024);
  await link(path.join(directory, 'holes'), path.join(directory, 'linked'));
  await symlink('nowhere', path.join(directory, 'symlink'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** What `describeTree` sees of a change. */
async function differencesAfter(change: () => Promise<unknown>): Promise<string[]> {
  const before = await describeTree(directory);
  await change();
  return differencesOf(before, await describeTree(directory));
}

describe('describeTree', () => {
  it('sees no change where there is none', async () => {
    expect(await differencesAfter(() => Promise.resolve())).toEqual([]);
  });

  it('leaves out what it is told to', async () => {
    const tree = await describeTree(directory, (relative) => relative === 'sub');
    expect([...tree.keys()]).toEqual(['.', 'holes', 'linked', 'symlink']);
  });

  it.each([
    ['content', (file: string) => writeFile(file, 'TEXT')],
    ['mode', (file: string) => chmod(file, 0o600)],
    ['mtime', (file: string) => utimes(file, 1, 1)],
    ['an extended attribute', (file: string) => must('setfattr', '-n', 'user.k', '-v', 'v', file)],
    ['an ACL', (file: string) => must('setfacl', '-m', 'u:12345:r', file)],
  ])('sees a changed %s', async (_, change) => {
    const differences = await differencesAfter(() => change(path.join(directory, 'sub', ODD_NAME)));
    expect(differences).toContainEqual(expect.stringMatching(/^sub\/odd é\n\\name differs/));
  });

  it('sees a filled hole and a broken hard link', async () => {
    const differences = await differencesAfter(async () => {
      await rm(path.join(directory, 'linked'));
      await writeFile(path.join(directory, 'linked'), Buffer.alloc(1024 * 1024));
    });
    expect(differences).toEqual([
      expect.stringMatching(/^\. differs/),
      expect.stringMatching(/^holes differs: .*linked=holes/),
      expect.stringMatching(/^linked differs: .* sparse .* became /),
    ]);
  });

  it('sees what is missing and what is too much', async () => {
    const differences = await differencesAfter(async () => {
      await rm(path.join(directory, 'symlink'));
      await mkdir(path.join(directory, 'new'));
    });
    expect(differences).toContain('symlink is missing');
    expect(differences).toContain('new is too much');
  });
});
