import { runReportSchema } from '../src/report/run-report-schema.js';
import { labGuest } from '../test/support/lab.js';
import { LabVolumeGroup } from '../test/support/lvm-lab.js';
import { CLI, mustRun } from './bench-world.js';
import { holds, median, renderFigure, type Figure } from './measure.js';

// `npm run lab -- exec --guest 7-backports -- node_modules/.bin/tsx bench/image.ts [SAMPLES]`: an increment of the image of
// a thin volume of which 1 % was written over, against a full image of it, in one run of one guest. Exits 1 when one is over
// its limit. Under software emulation only the ratios count.

const SIZE_MIB = 2048;
const VG = 'bench';

const samples = Number(process.argv[2] ?? 3);
const group = await LabVolumeGroup.make(VG, labGuest().disks.slice(0, 4));
try {
  await mustRun(['lvcreate', '--quiet', '--yes', '--type', 'thin-pool', '-L', '4600M', '-n', 'pool', VG]);
  await mustRun([
    'lvcreate',
    '--quiet',
    '--yes',
    '-V',
    `${SIZE_MIB}M`,
    '--thinpool',
    'pool',
    '-n',
    'srv',
    VG,
  ]);
  await group.create('--size', '6500M', '--name', 'backups');
  const srv = (await group.mount('srv', 'ext4')).mountpoint;
  const target = (await group.mount('backups', 'ext4')).mountpoint;
  const environment = {
    FSBACKUP_RUN_DIR: `${group.directory}/run`,
    FSBACKUP_STATE_DIR: `${group.directory}/state`,
  };
  const dd = async (...args: string[]): Promise<void> => {
    const of = `of=${srv}/data`;
    await mustRun(['dd', 'if=/dev/urandom', of, 'bs=1M', 'status=none', 'conv=notrunc,fsync', ...args]);
  };
  // All that the filesystem takes.
  const fill = Math.floor(SIZE_MIB * 0.9);
  await dd(`count=${fill}`);

  /** The copy alone: what comes before and after it is the same for both. */
  const copied = async (job: string): Promise<{ durationMs: number; bytes: number }> => {
    const run = ['run', '--job', job, '--source', srv, '--to', target, '--engine', 'image', '--json'];
    const { stdout } = await mustRun([process.execPath, CLI, ...run], environment);
    const [copy] = runReportSchema.parse(JSON.parse(stdout)).copies;
    if (copy === undefined) throw new Error('nothing was copied');
    return copy;
  };

  const [full, increment]: Record<'ms' | 'bytes', number[]>[] = [
    { ms: [], bytes: [] },
    { ms: [], bytes: [] },
  ];
  for (let sample = 0; sample < samples; sample += 1) {
    const job = `bench-${sample}`;
    const first = await copied(job);
    // In one piece: what a filesystem scatters is at least a block of the pool each.
    await dd(`count=${Math.ceil(SIZE_MIB / 100)}`, `seek=${100 * (sample + 1)}`);
    const second = await copied(job);
    full?.ms.push(first.durationMs);
    full?.bytes.push(first.bytes);
    increment?.ms.push(second.durationMs);
    increment?.bytes.push(second.bytes);
    await mustRun(['rm', '-rf', '--', `${target}/${job}`]);
    await mustRun([process.execPath, CLI, 'backups', 'release', job], environment);
  }
  const figure = (what: string, of: 'ms' | 'bytes', unit: Figure['unit'], scale: number): Figure => ({
    what: `image of a thin volume of ${SIZE_MIB} MiB, 1 % of it written over: ${what}`,
    ours: median(increment?.[of] ?? []) / scale,
    unit,
    baseline: { what: 'a full image', value: median(full?.[of] ?? []) / scale },
    limit: 0.1,
    samples,
  });
  const figures = [figure('time to copy', 'ms', 'ms', 1), figure('read of the device', 'bytes', 'MB', 1e6)];
  for (const one of figures) process.stdout.write(`${renderFigure(one)}\n`);
  process.exitCode = figures.every(holds) ? 0 : 1;
} finally {
  await group.dispose();
}
