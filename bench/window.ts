import { mkdir, rm, writeFile } from 'node:fs/promises';
import type { RunReport } from '../src/report/run-report.js';
import { CLI, inWorld, monotonicMs, mustRun, StallWriter, type BenchWorld } from './bench-world.js';
import { median, type Figure } from './measure.js';

const DIRTY_MIB = 300;

async function dirty(world: BenchWorld): Promise<void> {
  await mustRun([
    'dd',
    'if=/dev/urandom',
    `of=${world.inner.mountpoint}/dirty`,
    'bs=1M',
    `count=${DIRTY_MIB}`,
    'status=none',
  ]);
}

/** The longest stall of the writer while `work` runs over 300 MB of dirty pages. */
async function stallOf(world: BenchWorld, work: () => Promise<void>): Promise<number> {
  await mustRun(['sync']);
  const writer = await StallWriter.start(`${world.inner.mountpoint}/writer`);
  try {
    await dirty(world);
    const since = monotonicMs();
    await work();
    return writer.longest(since);
  } finally {
    await writer.stop();
  }
}

/** What people use today. */
async function script(world: BenchWorld): Promise<void> {
  const { inner, outer } = world;
  const snapshot = `${outer.mountpoint}/script.img`;
  const steps = 'fsfreeze -f "$1"; cp --reflink=always "$2" "$3"; fsfreeze -u "$1"';
  await mustRun(['sh', '-c', steps, 'sh', inner.mountpoint, inner.image, snapshot]);
  await rm(snapshot);
}

async function run(world: BenchWorld): Promise<RunReport> {
  const source = `${world.inner.mountpoint}/small`;
  const target = `${world.disks.directory}/backups`;
  const { stdout } = await mustRun(
    [process.execPath, CLI, 'run', '--job', 'bench', '--source', source, '--to', target, '--json'],
    world.environment,
  );
  return JSON.parse(stdout) as RunReport;
}

/** (a) the longest stall of a writer, and (b) what we add to the snapshot itself inside the window. */
export async function benchWindow(samples: number): Promise<Figure[]> {
  return await inWorld(async (world) => {
    await mkdir(`${world.inner.mountpoint}/small`);
    await mkdir(`${world.disks.directory}/backups`);
    await writeFile(`${world.inner.mountpoint}/small/file`, 'a small file');
    const ours: number[] = [];
    const theirs: number[] = [];
    const added: number[] = [];
    for (let sample = 0; sample < samples; sample += 1) {
      theirs.push(await stallOf(world, () => script(world)));
      ours.push(
        await stallOf(world, async () => {
          const [source] = (await run(world)).sources;
          if (source === undefined) throw new Error('no source in the report');
          const { frozenMs, freezeCallMs, snapshotMs, thawMs } = source;
          added.push((frozenMs ?? 0) - (freezeCallMs ?? 0) - (snapshotMs ?? 0) - (thawMs ?? 0));
        }),
      );
    }
    return [
      {
        what: `longest stall of a writer, ${DIRTY_MIB} MB dirty, fsbackup run`,
        ours: median(ours),
        unit: 'ms',
        baseline: { what: 'fsfreeze -f; cp --reflink=always; fsfreeze -u', value: median(theirs) },
        limit: 0.2,
        samples,
      },
      {
        what: "from FIFREEZE's return to FITHAW's start, less the snapshot",
        ours: median(added),
        unit: 'ms',
        limit: 5,
        samples,
      },
    ];
  });
}
