import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { CLI, inWorld, mustRun, timed, type BenchWorld } from './bench-world.js';
import { median, type Figure } from './measure.js';

const FILES = 2000;

/** Makes all files of a tree two hours old, by the ctime too: nothing but the device can be told that. */
async function age({ disks, inner }: BenchWorld, tree: string): Promise<void> {
  const twoHoursAgo = `@${Math.floor(Date.now() / 1000) - 7200}`;
  const lines: string[] = [];
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    const { ino } = await stat(`${entry.parentPath}/${entry.name}`);
    for (const time of ['ctime', 'mtime']) lines.push(`set_inode_field <${ino}> ${time} ${twoHoursAgo}`);
  }
  const script = `${disks.directory}/age`;
  await writeFile(script, `${lines.join('\n')}\n`);
  await mustRun(['umount', inner.mountpoint]);
  await mustRun(['debugfs', '-w', '-f', script, inner.device]);
  await mustRun(['mount', inner.device, inner.mountpoint]);
  // Whoever has mounts of his own may have this one, too, and with it what was in memory.
  const { ctimeMs } = await stat(`${tree}/0/0`);
  if (Date.now() - ctimeMs < 7_000_000)
    throw new Error(`${inner.mountpoint} is mounted elsewhere, and was not aged`);
}

/**
 * (e) what a run on an unchanged tree costs beyond the rsync that does its copying: on one that was made just now, all of
 * which is compared once more, and on one that nobody touched for two hours.
 */
export async function benchOverhead(samples: number): Promise<Figure[]> {
  return await inWorld(async (world) => {
    const { inner, disks, environment } = world;
    const source = `${inner.mountpoint}/tree`;
    const target = `${disks.directory}/backups`;
    const mirror = `${disks.directory}/mirror`;
    await mkdir(target);
    await mkdir(mirror);
    for (let index = 0; index < FILES; index += 1) {
      const directory = `${source}/${index % 20}`;
      await mkdir(directory, { recursive: true });
      await writeFile(`${directory}/${index}`, `file ${index}\n`.repeat(100));
    }
    const bare = (): Promise<unknown> =>
      mustRun(['rsync', '-aHAXS', '--numeric-ids', '--delete', `${source}/`, `${mirror}/`]);
    const run = (): Promise<unknown> =>
      mustRun(
        [process.execPath, CLI, 'run', '--job', 'bench', '--source', source, '--to', target, '--json'],
        environment,
      );
    const measure = async (kind: string): Promise<Figure> => {
      await bare();
      await run();
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let sample = 0; sample < samples; sample += 1) {
        theirs.push(await timed(bare));
        ours.push(await timed(run));
      }
      return {
        what: `run on an unchanged tree of ${FILES} files, ${kind}, beyond bare rsync (${median(theirs).toFixed(0)} ms)`,
        ours: median(ours) - median(theirs),
        unit: 'ms',
        limit: 1000,
        samples,
      };
    };
    const fresh = await measure('made just now');
    await age(world, source);
    return [fresh, await measure('two hours old')];
  });
}
