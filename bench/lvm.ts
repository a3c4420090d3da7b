import { mkdir, writeFile } from 'node:fs/promises';
import { labGuest } from '../test/support/lab.js';
import { LabVolumeGroup } from '../test/support/lvm-lab.js';
import { CLI, monotonicMs, mustRun, StallWriter } from './bench-world.js';
import { holds, median, renderFigure, type Figure } from './measure.js';

// `npm run lab -- exec --guest 7-backports -- node_modules/.bin/tsx bench/lvm.ts [SAMPLES]`: the longest stall of a writer
// on a classic LVM volume, ours against what people use, in one run of one guest. Exits 1 when one is over its limit.
// Under software emulation only the ratios count.

const DIRTY_MIB = 200;
const VG = 'bench';

const samples = Number(process.argv[2] ?? 7);
const group = await LabVolumeGroup.make(VG, labGuest().disks.slice(0, 2));
try {
  await group.create('--size', '1G', '--name', 'srv');
  const srv = (await group.mount('srv', 'ext4')).mountpoint;
  const target = `${group.directory}/backups`;
  await mkdir(target);
  await mkdir(`${srv}/small`);
  await writeFile(`${srv}/small/file`, 'a small file');
  const environment = {
    FSBACKUP_RUN_DIR: `${group.directory}/run`,
    FSBACKUP_STATE_DIR: `${group.directory}/state`,
  };

  const shell = async (script: string): Promise<void> => {
    await mustRun(['sh', '-ec', script, 'sh', srv]);
  };
  const create = `lvcreate --quiet --yes -s -L 300M -n snap ${VG}/srv`;
  const remove = (): Promise<void> => shell(`lvremove --quiet --yes ${VG}/snap`);
  const ways = {
    ours: async () => {
      const run = ['run', '--job', 'bench', '--source', `${srv}/small`, '--to', target, '--quiet'];
      await mustRun([process.execPath, CLI, ...run], environment);
    },
    script: () => shell(`fsfreeze -f "$1"; ${create}; fsfreeze -u "$1"`),
    bare: () => shell(create),
  };

  /** The longest stall of the writer while `work` runs over so many dirty pages. */
  const stallOf = async (work: () => Promise<void>): Promise<number> => {
    await mustRun(['sync']);
    const writer = await StallWriter.start(`${srv}/writer`);
    try {
      await mustRun(['dd', 'if=/dev/zero', `of=${srv}/dirty`, 'bs=1M', `count=${DIRTY_MIB}`, 'status=none']);
      const since = monotonicMs();
      await work();
      return writer.longest(since);
    } finally {
      await writer.stop();
    }
  };

  const stalls: Record<keyof typeof ways, number[]> = { ours: [], script: [], bare: [] };
  for (let sample = 0; sample < samples; sample += 1) {
    stalls.script.push(await stallOf(ways.script));
    await remove();
    stalls.ours.push(await stallOf(ways.ours));
    stalls.bare.push(await stallOf(ways.bare));
    await remove();
  }
  const against = (what: string, way: 'script' | 'bare', limit: number): Figure => ({
    what: `longest stall of a writer on an LVM volume, ${DIRTY_MIB} MB dirty, fsbackup run`,
    ours: median(stalls.ours),
    unit: 'ms',
    baseline: { what, value: median(stalls[way]) },
    limit,
    samples,
  });
  const figures = [
    against('fsfreeze -f; lvcreate -s; fsfreeze -u', 'script', 0.25),
    against('lvcreate -s', 'bare', 0.8),
  ];
  for (const figure of figures) process.stdout.write(`${renderFigure(figure)}\n`);
  for (const [way, values] of Object.entries(stalls)) {
    process.stdout.write(`     ${way}: ${values.map((value) => value.toFixed(0)).join(' ')} ms\n`);
  }
  process.exitCode = figures.every(holds) ? 0 : 1;
} finally {
  await group.dispose();
}
