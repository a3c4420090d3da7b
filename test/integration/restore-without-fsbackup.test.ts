import { readFile } from 'node:fs/promises';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CopyEngine } from '../../src/copy/engine.js';
import { engineFor } from '../../src/copy/engines.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { follow } from '../support/documented-steps.js';
import { makeNastyTree } from '../support/nasty-tree.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'ext4',
  'program:rsync',
  'program:tar',
  'program:zstd',
  'program:setfattr',
  'program:setfacl',
  'program:setcap',
] as const;

describeNeeding(NEEDS, 'the steps of docs/restore-without-fsbackup.md', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let original: string;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 512 });
    original = path.join(disk.mountpoint, 'original');
    await mkdir(original);
    await makeNastyTree(original, { smallFiles: 200, sparseBytes: 64 * 1024 ** 2 });
    // GNU tar takes such a name on its command line for `wanted.file`.
    await writeFile(path.join(original, 'wanted\\056file'), 'wanted');
    await writeFile(path.join(original, 'wanted.file'), 'not wanted');
  });

  async function directory(name: string): Promise<string> {
    const made = path.join(disk.mountpoint, name);
    await mkdir(made, { recursive: true, mode: 0o700 });
    return made;
  }

  async function backUp(engine: CopyEngine): Promise<string> {
    const backup = await directory(`backup-${engine.name}`);
    const result = await engine.copy({
      sources: [{ path: '/srv/www', readFrom: original, exclude: [] }],
      dataDirectory: await directory(`backup-${engine.name}/data`),
      backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
      parentDataDirectory: undefined,
      signal: new AbortController().signal,
      onProgress: () => undefined,
    });
    expect(result.unreadable).toEqual([]);
    return backup;
  }

  for (const name of ['rsync', 'tar'] as const) {
    it(`restore a backup by ${name}`, async () => {
      const BACKUP = await backUp(engineFor({ engine: name, path: '/unused' }));
      const DEST = await directory(`all-${name}`);
      await follow(`${name} all`, { BACKUP, DEST });
      const ignoreSockets = name === 'tar';
      expect(await compareTrees(original, path.join(DEST, 'srv/www'), { ignoreSockets })).toEqual([]);

      const one = await directory(`one-${name}`);
      await follow(`${name} one`, { BACKUP, DEST: one, WANTED: 'srv/www/wanted\\056file' });
      expect(await must('find', one, '-type', 'f')).toBe(path.join(one, 'srv/www/wanted\\056file'));
      expect(await readFile(path.join(one, 'srv/www/wanted\\056file'), 'utf8')).toBe('wanted');
    });
  }

  it('list what is in an archive', async () => {
    const BACKUP = path.join(disk.mountpoint, 'backup-tar');
    expect((await follow('tar list', { BACKUP })).split('\n')).toContain('srv/www/wanted.file');
  });
});
