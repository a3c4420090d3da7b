import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import type { RunReport } from '../src/report/run-report.js';
import { CLI, inWorld, mustRun, timed } from './bench-world.js';
import { median, type Figure } from './measure.js';

const SMALL_FILES = 5000;
const LARGE_FILES = 8;
const LARGE_MIB = 64;

async function makeTree(tree: string): Promise<void> {
  for (let index = 0; index < SMALL_FILES; index += 1) {
    const directory = `${tree}/small/${index % 50}`;
    if (index < 50) await mkdir(directory, { recursive: true });
    await writeFile(`${directory}/${index}`, `file ${index}\n`.repeat(200));
  }
  for (let index = 0; index < LARGE_FILES; index += 1) {
    const into = `of=${tree}/large-${index}`;
    await mustRun(['dd', 'if=/dev/urandom', into, 'bs=1M', `count=${LARGE_MIB}`, 'status=none']);
  }
}

/** Runs `use` on a snapshot of the filesystem in `image`, as a run makes one: a clone that nobody has read yet. */
async function onSnapshot(image: string, use: (mountpoint: string) => Promise<void>): Promise<void> {
  const clone = `${image}.clone`;
  const mountpoint = `${image}.mnt`;
  await mustRun(['cp', '--reflink=always', image, clone]);
  await mkdir(mountpoint);
  try {
    await mustRun(['mount', '-o', 'loop,ro,noload', clone, mountpoint]);
    await use(mountpoint);
  } finally {
    await mustRun(['umount', mountpoint]);
    await rmdir(mountpoint);
    await rm(clone);
  }
}

/**
 * What a first backup costs beside the rsync that does its copying, with the same options from a snapshot of the same kind,
 * to the same disk, and synced as ours is: the copy by a ratio, with the digests, the sync and the manifest in it, all the
 * rest of the run by its time.
 */
export async function benchCopyOverhead(samples: number): Promise<Figure[]> {
  return await inWorld(async ({ inner, disks, environment }) => {
    const source = `${inner.mountpoint}/tree`;
    // A disk of its own: a sync of the machine's would write what others made dirty.
    const { mountpoint } = await disks.filesystem({ fstype: 'ext4', sizeMiB: 2048 });
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
      // All of the step: what `durationMs` of a copy leaves out is the sync and the manifest.
      const { steps } = JSON.parse(stdout) as RunReport;
      const copyMs = steps.find(({ step }) => step.startsWith('copy to '))?.durationMs ?? Number.NaN;
      copies.push(copyMs);
      rests.push(total - copyMs);
      await rm(target, { recursive: true });
    }
    const tree = `${SMALL_FILES} small files and ${(LARGE_FILES * LARGE_MIB) / 1024} GiB`;
    return [
      {
        what: `the copy of a first run, ${tree}`,
        ours: median(copies),
        unit: 'ms',
        baseline: { what: 'bare rsync and sync', value: median(bares) },
        limit: 1.05,
        samples,
      },
      { what: 'all the rest of that run', ours: median(rests), unit: 'ms', limit: 1000, samples },
    ];
  });
}
