import { mkdir, rm } from 'node:fs/promises';
import { CLI, inWorld, mustRun, timed } from './bench-world.js';
import { COPY_TREE, COPY_TREE_ROOM, copyStepMs, makeTree, onSnapshot } from './copy-tree.js';
import { copyFigures, type Figure } from './measure.js';

/**
 * What a first backup costs beside the rsync that does its copying, with the same options from a snapshot of the same kind,
 * to the same disk, and synced as ours is: the copy by itself, with the digests, the sync and the manifest in it, and all of
 * the run, which may take a second more.
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
    const [copies, runs, bares]: [number[], number[], number[]] = [[], [], []];
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
      copies.push(copyStepMs(stdout));
      runs.push(total);
      await rm(target, { recursive: true });
    }
    return copyFigures(`a first run, ${COPY_TREE}`, 'bare rsync and sync', { copies, runs, bares });
  }, COPY_TREE_ROOM);
}
