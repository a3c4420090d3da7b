import { mkdir, rm } from 'node:fs/promises';
import { CLI, inWorld, mustRun, timed } from './bench-world.js';
import { COPY_TREE, COPY_TREE_ROOM, copyStepMs, makeTree, onSnapshot } from './copy-tree.js';
import { median, type Figure } from './measure.js';

/**
 * What a first backup costs beside the rsync that does its copying, with the same options from a snapshot of the same kind,
 * to the same disk, and synced as ours is: the copy by a ratio, with the digests, the sync and the manifest in it, all the
 * rest of the run by its time.
 */
export async function benchCopyOverhead(samples: number): Promise<Figure[]> {
  return await inWorld(async ({ inner, disks, environment }) => {
    const source = `${inner.mountpoint}/tree`;
    // A disk of its own: a sync of the machine's would write what others made dirty.
    const { mountpoint } = await disks.filesystem({ fstype: 'ext4', sizeMiB: 6144 });
    const [target, mirror] = [`${mountpoint}/backups`, `${mountpoint}/mirror`];
    await makeTree(source);
    await mustRun(['sync', '--file-system', source]);
    const bare = async (snapshot: string): Promise<void> => {
      const args = ['-aHAXS', '--numeric-ids', '--modify-window=-1', '--one-file-system'];
      await mustRun(['rsync', ...args, `${snapshot}/tree/`, `${mirror}/`]);
      await mustRun(['sync', '--file-system', mirror]);
    };
    const [copies, rests, bares]: [number[], number[], number[]] = [[], [], []];
    for (let sample = 0; sample < samples; sample += 1) {
      await mkdir(mirror);
      await mkdir(target);
      await mustRun(['sync', '--file-system', mountpoint]);
      await onSnapshot(inner.image, async (snapshot) => {
        bares.push(await timed(() => bare(snapshot)));
      });
      await rm(mirror, { recursive: true });
      await mustRun(['sync', '--file-system', mountpoint]);
      let stdout = '';
      const total = await timed(async () => {
        const job = ['--job', 'bench', '--source', source, '--to', target, '--json'];
        ({ stdout } = await mustRun([process.execPath, CLI, 'run', ...job], environment));
      });
      const copyMs = copyStepMs(stdout);
      copies.push(copyMs);
      rests.push(total - copyMs);
      await rm(target, { recursive: true });
    }
    return [
      {
        what: `the copy of a first run, ${COPY_TREE}`,
        ours: median(copies),
        unit: 'ms',
        baseline: { what: 'bare rsync and sync', value: median(bares) },
        limit: 1.05,
        samples,
      },
      { what: 'all the rest of that run', ours: median(rests), unit: 'ms', limit: 1000, samples },
    ];
  }, COPY_TREE_ROOM);
}
