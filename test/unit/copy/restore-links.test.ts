import { mkdir, mkdtemp, readdir, realpath, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { linkName, removeRestoreLinks } from '../../../src/copy/restore/restore-links.js';

const TOKEN = '0123456789abcdef';

let root: string;
let destination: string;

beforeEach(async () => {
  root = await realpath(await mkdtemp(path.join(os.tmpdir(), 'links-')));
  destination = path.join(root, 'out');
  await mkdir(path.join(destination, 'srv/www'), { recursive: true });
  await mkdir(path.join(root, 'elsewhere'));
});
afterEach(() => rm(root, { recursive: true }));

function remove(...directories: string[]): Promise<void> {
  return removeRestoreLinks({ destination, token: TOKEN, directories });
}

it('goes with its own names alone, and leaves the times of their directory', async () => {
  const www = path.join(destination, 'srv/www');
  const others = ['.fsbackup-link-fedcba9876543210-0', '.fsbackup-link-1234-0', 'page'];
  for (const name of [linkName(TOKEN, 0), linkName(TOKEN, 12), ...others]) {
    await writeFile(path.join(www, name), 'x');
  }
  await writeFile(path.join(destination, linkName(TOKEN, 3)), 'x');
  await utimes(www, 1000, 1000);
  await remove('srv/www', '.');
  expect((await readdir(www)).toSorted()).toEqual(others.toSorted());
  expect(await readdir(destination)).toEqual(['srv']);
  expect((await stat(www)).mtimeMs).toBe(1_000_000);
  await remove('srv/www', '.');
});

it('has nothing to do where the directory was never made, or all of it is gone', async () => {
  await expect(remove('srv/absent/below')).resolves.toBeUndefined();
  await rm(destination, { recursive: true });
  await expect(remove('srv/www')).resolves.toBeUndefined();
});

it('goes through no symlink, and not out of the destination; that is told, with what to do', async () => {
  const theirs = path.join(root, 'elsewhere', linkName(TOKEN, 0));
  await writeFile(theirs, 'theirs');
  await symlink(path.join(root, 'elsewhere'), path.join(destination, 'srv/link'));
  for (const directory of ['srv/link', 'srv/link/.', '../elsewhere']) {
    await expect(remove(directory), directory).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      hint: expect.stringContaining(`-name '.fsbackup-link-${TOKEN}-*'`) as string,
    });
  }
  await symlink(destination, path.join(root, 'alias'));
  await expect(
    removeRestoreLinks({ destination: path.join(root, 'alias'), token: TOKEN, directories: ['srv/www'] }),
  ).rejects.toMatchObject({ code: 'cleanupIncomplete' });
  expect((await stat(theirs)).isFile()).toBe(true);
});
