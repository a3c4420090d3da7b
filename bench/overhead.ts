import { mkdir, writeFile } from 'node:fs/promises';
import { CLI, inWorld, mustRun, timed } from './bench-world.js';
import { median, type Figure } from './measure.js';

const FILES = 2000;

/** (e) what a run on an unchanged tree costs beyond the rsync that does its copying. */
export async function benchOverhead(samples: number): Promise<Figure> {
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
    await bare();
    await run();
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let sample = 0; sample < samples; sample += 1) {
      theirs.push(await timed(bare));
      ours.push(await timed(run));
    }
    return {
      what: `run on an unchanged tree of ${FILES} files, beyond bare rsync (${median(theirs).toFixed(0)} ms)`,
      ours: median(ours) - median(theirs),
      unit: 'ms',
      limit: 1000,
      samples,
    };
  });
}
