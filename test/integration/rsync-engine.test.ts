import { chmod, lstat, mkdir, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { CopyRequest } from '../../src/copy/engine.js';
import { createRsyncEngine } from '../../src/copy/rsync-engine.js';
import { runCommand } from '../../src/system/run-command.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

async function inode(...names: string[]): Promise<number> {
  return (await lstat(path.join(...names))).ino;
}

describeNeeding(['root', 'loop', 'ext4', 'program:rsync'], 'the rsync engine beside its parent', () => {
  const disks = throwawayDisks(afterAll);
  const engine = createRsyncEngine();
  let disk: ThrowawayFilesystem;
  let original: string;
  let count = 0;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 512 });
  });

  beforeEach(async () => {
    count += 1;
    original = path.join(disk.mountpoint, `original-${count}`);
    await mkdir(original);
  });

  async function place(name: string): Promise<string> {
    const directory = path.join(disk.mountpoint, `${name}-${count}`, 'data');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return directory;
  }

  function request(dataDirectory: string, parent?: string, more: Partial<CopyRequest> = {}): CopyRequest {
    return {
      backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
      sources: [{ path: '/srv', readFrom: original, exclude: [] }],
      dataDirectory,
      parentDataDirectory: parent,
      signal: new AbortController().signal,
      onProgress: () => undefined,
      ...more,
    };
  }

  it('links what did not change and copies what did, within the same second too', async () => {
    const at = (name: string): string => path.join(original, name);
    for (const name of ['same', 'new content', 'new mode', 'gone']) await writeFile(at(name), `one ${name}`);
    await must('ln', '-s', 'same', at('symlink'));
    await utimes(at('new content'), 0, 1_000_000_000.25);
    const [first, second] = [await place('first'), await place('second')];
    await engine.copy(request(first));

    await writeFile(at('new content'), 'two new content');
    await utimes(at('new content'), 0, 1_000_000_000.5);
    await chmod(at('new mode'), 0o600);
    await rm(at('gone'));
    const result = await engine.copy(request(second, first));
    expect(result).toEqual({ bytes: expect.any(Number) as number, files: 4, unreadable: [] });

    for (const name of ['same', 'symlink']) {
      expect(await inode(second, 'srv', name)).toBe(await inode(first, 'srv', name));
    }
    for (const name of ['new content', 'new mode']) {
      expect(await inode(second, 'srv', name)).not.toBe(await inode(first, 'srv', name));
    }
    expect(await readFile(path.join(second, 'srv', 'new content'), 'utf8')).toBe('two new content');
    expect(await compareTrees(original, path.join(second, 'srv'))).toEqual([]);
    expect(await readFile(path.join(first, 'srv', 'new content'), 'utf8')).toBe('one new content');
    expect(await readdir(path.join(first, 'srv'))).toContain('gone');
  });

  it('names files that vanish while a live tree is copied', async () => {
    await must('dd', 'if=/dev/urandom', `of=${original}/a-large`, 'bs=1M', 'count=24', 'status=none');
    for (const name of ['y', 'z']) await writeFile(path.join(original, name), name);
    // Slow enough for rsync to tell of its progress before it comes to the last file.
    const slow = createRsyncEngine((argv, options) =>
      runCommand([argv[0], '--bwlimit=8m', ...argv.slice(1)], options),
    );
    const data = await place('data');
    const onProgress = (): void => rmSync(path.join(original, 'z'), { force: true });
    const result = await slow.copy(request(data, undefined, { onProgress }));
    expect(result.unreadable).toEqual(['/srv/z']);
    expect((await readdir(path.join(data, 'srv'))).toSorted()).toEqual(['a-large', 'y']);
  });
});
