import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { CopyBase, CopyResult } from '../../src/copy/engine.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { follow } from '../support/documented-steps.js';
import { makeNastyTree } from '../support/nasty-tree.js';
import { btrfsSendWorld, reflinkImageWorld } from '../support/send-worlds.js';
import { must } from '../support/throwaway-filesystem.js';
import type { ExposedSnapshot, SendWorld } from '../support/send-harness.js';

const SMALL = { smallFiles: 100, sparseBytes: 16 * 1024 ** 2 };

async function backUp(
  world: SendWorld,
  snapshot: ExposedSnapshot,
  backupId: string,
  base?: CopyBase,
): Promise<{ data: string; result: CopyResult; base: CopyBase }> {
  const data = path.join(world.target, 'job', backupId, 'data');
  await mkdir(data, { recursive: true });
  const result = await world.engine.copy({
    sources: [snapshot.source],
    dataDirectory: data,
    backup: { job: 'job', backupId },
    parentDataDirectory: undefined,
    ...(base === undefined ? {} : { base }),
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  return { data, result, base: { backupId, dataDirectory: data, snapshots: result.keep ?? [] } };
}

const NEEDS = ['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:zstd', 'program:setcap'] as const;

describeNeeding(NEEDS, 'whole filesystems, restored by the steps of docs/restore-without-fsbackup.md', () => {
  it('puts an image back with zstd and dd', async () => {
    const world = await reflinkImageWorld('ext4');
    onTestFinished(() => world.dispose());
    await makeNastyTree(world.mountpoint, SMALL);
    const snapshot = await world.snapshot();
    const { data, result } = await backUp(world, snapshot, '20261123T184500Z-1a2b3c');
    const contents = JSON.parse(await readFile(path.join(data, 'contents.json'), 'utf8')) as {
      images: { name: string; sizeBytes: number }[];
    };
    const [{ name, sizeBytes } = { name: '', sizeBytes: 0 }] = contents.images;
    // What ext4 does not use is not read.
    expect(result.bytes).toBeLessThan(sizeBytes / 2);
    const IMAGE = path.join(world.scratch, 'restored.img');
    await writeFile(IMAGE, '');
    await truncate(IMAGE, sizeBytes);
    const [MAP, CHUNKS] = [path.join(data, `${name}.map`), path.join(data, `${name}.chunks.zst`)];
    await follow('image part', { IMAGE, MAP, CHUNKS });
    expect((await stat(IMAGE)).size).toBe(sizeBytes);
    expect(await must('e2fsck', '-fn', IMAGE)).toMatch(/restored\.img: \d+\/\d+ files/);
    const mountpoint = path.join(world.scratch, 'mounted');
    await mkdir(mountpoint);
    await must('mount', '-o', 'ro,loop', IMAGE, mountpoint);
    expect(await compareTrees(snapshot.readFrom, mountpoint)).toEqual([]);
    await must('umount', mountpoint);
  }, 600_000);

  it('receives the streams of a btrfs, the increment after the full one', async () => {
    const world = await btrfsSendWorld('ext4');
    onTestFinished(() => world.dispose());
    const there = await btrfsSendWorld('btrfs');
    onTestFinished(() => there.dispose());
    await makeNastyTree(world.mountpoint, SMALL);
    const first = await world.snapshot();
    const full = await backUp(world, first, '20261123T184500Z-1a2b3c');
    await writeFile(path.join(world.mountpoint, 'new'), 'new');
    const second = await world.snapshot();
    const increment = await backUp(world, second, '20261124T184500Z-1a2b3c', full.base);
    expect(increment.result.needs).toEqual(['20261123T184500Z-1a2b3c']);
    const DEST = there.target;
    for (const { data } of [full, increment]) {
      const STREAM = await must('find', data, '-name', '*.btrfs.zst');
      await follow('btrfs stream', { STREAM, DEST });
    }
    const restored = path.join(DEST, second.source.snapshot?.name ?? '');
    const ignore = (name: string): boolean => name.startsWith('.fsbackup-snapshots');
    expect(await compareTrees(second.readFrom, restored, { ignore })).toEqual([]);
    expect(await readFile(path.join(restored, 'new'), 'utf8')).toBe('new');
  }, 600_000);
});
