import { mkdir, rm, writeFile } from 'node:fs/promises';
import { CLI, inWorld, mustRun, timed } from './bench-world.js';
import { COPY_TREE, COPY_TREE_ROOM, copyStepMs, makeTree, onSnapshot } from './copy-tree.js';
import { copyFigures, type Figure } from './measure.js';

const PASSWORD = 'of a bench';

/**
 * What a first backup into a repository of restic costs beside the `restic backup` that does its copying, from a snapshot
 * of the same kind, to the same disk, into a repository of the same keys, the cache empty: the copy by itself, and
 * all of the run, which may take a second more. restic syncs what it writes itself.
 */
export async function benchResticOverhead(samples: number): Promise<Figure[]> {
  return await inWorld(async ({ inner, disks, environment }) => {
    const source = `${inner.mountpoint}/tree`;
    const { mountpoint } = await disks.filesystem({ fstype: 'ext4', sizeMiB: 6144 });
    const at = (name: string): string => `${mountpoint}/${name}`;
    const [empty, repository, cache] = [at('empty'), at('repository'), at('cache')];
    const env = { RESTIC_PASSWORD: PASSWORD, RESTIC_CACHE_DIR: cache };
    await writeFile(at('key'), PASSWORD, { mode: 0o600 });
    const jobs = {
      bench: {
        sources: [{ path: source }],
        targets: [
          {
            engine: 'restic',
            repository,
            password: { file: at('key') },
            environment: { RESTIC_CACHE_DIR: cache },
          },
        ],
      },
    };
    await writeFile(at('config.yaml'), JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    await makeTree(source);
    await mustRun(['sync', '--file-system', source]);
    // How long it takes to derive a key from the password is decided when a repository is made: one for all.
    await mustRun(['restic', '--repo', empty, 'init'], env);
    /** Both begin with an empty repository and an empty cache, and with nothing of the disk to be written. */
    const prepare = async (): Promise<void> => {
      for (const one of [repository, cache]) await rm(one, { recursive: true, force: true });
      await mustRun(['cp', '--archive', empty, repository]);
      await mkdir(cache);
      await mustRun(['sync', '--file-system', mountpoint]);
    };
    const [copies, runs, bares]: [number[], number[], number[]] = [[], [], []];
    for (let sample = 0; sample < samples; sample += 1) {
      await prepare();
      await onSnapshot(inner.image, async (snapshot) => {
        const args = ['backup', '--json', '--one-file-system', `${snapshot}/tree`];
        bares.push(await timed(() => mustRun(['restic', '--repo', repository, ...args], env)));
      });
      await prepare();
      let stdout = '';
      const total = await timed(async () => {
        const args = ['run', '--config', at('config.yaml'), '--json'];
        ({ stdout } = await mustRun([process.execPath, CLI, ...args], environment));
      });
      copies.push(copyStepMs(stdout));
      runs.push(total);
    }
    return copyFigures(`a first run by restic, ${COPY_TREE}`, 'bare restic backup', { copies, runs, bares });
  }, COPY_TREE_ROOM);
}
