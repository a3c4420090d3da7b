import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState, type LabVolume } from '../support/lvm-lab.js';
import { startPairLogs } from '../support/pair-logs.js';
import { must } from '../support/throwaway-filesystem.js';

/** Of a mirror one: each round waits until it is in sync again. */
const ROUNDS = { auto: 2, mirror: 1 } as const;

describeInLab({}, 'two directories of one volume, mounted by themselves', ({ disks, kernel }) => {
  let group: LabVolumeGroup;
  let cli: FsbackupCli;
  let target: string;
  let stopWriter: () => Promise<void>;

  beforeEach(async () => {
    stopWriter = async () => {};
    group = await LabVolumeGroup.make('lab-bound', disks.slice(0, 2));
    cli = new FsbackupCli(group.directory);
    target = path.join(group.directory, 'target');
    await mkdir(target);
  });

  afterEach(async () => {
    await stopWriter();
    await group.dispose();
  });

  /** Two directories of it, bound elsewhere, under a writer that keeps the second from being ahead of the first. */
  async function bound({ mountpoint }: LabVolume): Promise<string[]> {
    const directories = ['one', 'two'].map((name) => path.join(mountpoint, name));
    const binds = ['first', 'second'].map((name) => path.join(group.directory, name));
    for (const directory of [...directories, ...binds]) await mkdir(directory);
    for (const [index, bind] of binds.entries())
      await must('mount', '--bind', directories[index] ?? '', bind);
    const writer = startPairLogs(directories);
    stopWriter = writer.stop;
    await writer.begun();
    return binds;
  }

  /** Backs both up again and again. What is odd about it: nothing, when one snapshot served both each time. */
  async function oddities(binds: readonly string[], snapshot: 'auto' | 'mirror'): Promise<unknown[]> {
    const config = path.join(group.directory, 'config.yaml');
    const sources = binds.map((bind) => ({ path: bind, snapshot }));
    const jobs = { pair: { sources, targets: [target], attempts: 1, mustBeOneInstant: true } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const odd: unknown[] = [];
    const before = await storageState();
    for (let round = 0; round < ROUNDS[snapshot]; round += 1) {
      const { exitCode, value, stderr } = await cli.runJob('pair', '--config', config);
      if (exitCode !== 0) odd.push(stderr);
      const served = value.sources.map(({ mountpoint, otherMountpoints }) => [
        mountpoint,
        ...(otherMountpoints ?? []),
      ]);
      if (value.oneInstant !== true || !isDeepStrictEqual(served, [binds])) odd.push(value);
      const [first = 0, second = 0] = await Promise.all(
        binds.map(async (bind) => {
          const log = path.join(target, 'pair', value.runId, 'data', bind, 'log');
          return Number((await readFile(log, 'utf8')).split('\n').at(-2) ?? 0);
        }),
      );
      if (!(first > 0 && (first === second || first === second + 1))) odd.push({ round, first, second });
    }
    const after = await storageState();
    return isDeepStrictEqual(after, before) ? odd : [...odd, before, after];
  }

  it('come from one snapshot of LVM, on every kernel', async () => {
    const binds = await bound(await group.volume({ lv: 'srv', fstype: 'ext4' }));
    expect(await oddities(binds, 'auto')).toEqual([]);
  });

  it('come from one split of a mirror', async () => {
    if (kernel === 'refuses') return;
    await group.create('--type', 'raid1', '--mirrors', '1', '--size', '48M', '--name', 'srv');
    await group.inSync('srv');
    const binds = await bound(await group.mount('srv', 'ext4'));
    expect(await oddities(binds, 'mirror')).toEqual([]);
  });
});
