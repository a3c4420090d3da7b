import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { frozenWindowOf } from '../../scripts/demo-lib/timeline.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState } from '../support/lvm-lab.js';
import { startLogWriter } from '../support/log-writer.js';
import { checkRecords, parseRecords } from '../support/records.js';
import { must } from '../support/throwaway-filesystem.js';
import { describeTree, differencesOf } from '../support/tree.js';

describeInLab({ kernel: ['leaks', 'nests'], once: 'nests' }, 'a mirror that is split', (suite) => {
  const { disks } = suite;
  let group: LabVolumeGroup;
  let cli: FsbackupCli;
  let target: string;

  beforeEach(async () => {
    group = await LabVolumeGroup.make('lab-mirror', disks.slice(0, 2));
    cli = new FsbackupCli(group.directory);
    target = path.join(group.directory, 'backups');
    await mkdir(target);
  });

  afterEach(async () => {
    await group.dispose();
  });

  async function mirror(fstype: 'ext4' | 'xfs'): Promise<string> {
    // The smallest that mkfs takes: every megabyte is resynced under emulation.
    const size = { ext4: '48M', xfs: '304M' }[fstype];
    await group.create('--type', 'raid1', '--mirrors', '1', '--size', size, '--name', 'srv');
    await group.inSync('srv');
    return (await group.mount('srv', fstype)).mountpoint;
  }

  async function configure(mountpoint: string): Promise<string> {
    const config = path.join(group.directory, 'config.yaml');
    const sources = [{ path: mountpoint, snapshot: 'mirror' }];
    // To split a mirror takes a slow guest half a minute, which is what a freeze may take unless told otherwise.
    const freeze = { timeout: '100s', maxHold: '100s' };
    const jobs = { srv: { sources, targets: [target], attempts: 1, freeze } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    return config;
  }

  it.each(suite.thorough ? (['ext4', 'xfs'] as const) : (['xfs'] as const))(
    '%s: is whole again after a backup that holds what was there at the freeze',
    async (fstype) => {
      const mountpoint = await mirror(fstype);
      await mkdir(path.join(mountpoint, 'still'));
      await writeFile(path.join(mountpoint, 'still/file'), 'x'.repeat(100_000));
      const still = await describeTree(path.join(mountpoint, 'still'));
      const config = await configure(mountpoint);
      const before = await storageState();

      const writer = startLogWriter(path.join(mountpoint, 'records'));
      let run;
      try {
        await writer.acknowledged(20);
        run = await cli.runJob('srv', '--config', config);
        await writer.acknowledged(writer.acknowledgements.length + 10);
      } finally {
        await writer.stop();
      }
      expect(run.value, run.stderr).toMatchObject({
        outcome: 'success',
        consistency: 'filesystem',
        sources: [{ provider: 'mirror', freezeMode: 'explicit', consistency: 'filesystem' }],
        copies: [{ target }],
      });
      expect(await storageState()).toEqual(before);
      expect(await must('lvs', '--noheadings', '-o', 'sync_percent', `${group.vg}/srv`)).toBe('100.00');
      expect(await must('lvs', '--noheadings', '-o', 'lv_health_status', `${group.vg}/srv`)).toBe('');

      const restored = path.join(group.directory, 'restored');
      const restore = await cli.run('restore', 'srv', '--from', target, '--to', restored);
      expect(restore.exitCode, restore.stderr).toBe(0);
      const window = frozenWindowOf(run.value.startedAt, run.value.steps);
      if (window === undefined) throw new Error('the report shows no frozen window');
      const text = await readFile(path.join(restored, mountpoint, 'records'), 'utf8');
      expect(checkRecords(text, writer.acknowledgements, window)).toEqual([]);
      expect(parseRecords(text).records.length).toBeLessThan(writer.acknowledgements.length);
      expect(differencesOf(still, await describeTree(path.join(restored, mountpoint, 'still')))).toEqual([]);

      // Both halves are the same: a check of the array finds no mismatch.
      await must('sync');
      await must('lvchange', '--syncaction', 'check', `${group.vg}/srv`);
      await group.inSync('srv');
      const mismatches = ['lvs', '--noheadings', '-o', 'raid_mismatch_count', `${group.vg}/srv`] as const;
      expect(await must(...mismatches)).toBe('0');
      await must('umount', mountpoint);
      await must('mount', `/dev/${group.vg}/srv`, mountpoint);
      await writeFile(path.join(mountpoint, 'after'), 'writable again');
    },
  );

  it.each(suite.thorough ? (['snapshot', 'exposure', 'backup'] as const) : (['exposure'] as const))(
    'is merged back by recover when the run was killed at its %s',
    async (kind) => {
      const mountpoint = await mirror('ext4');
      await writeFile(path.join(mountpoint, 'file'), 'x'.repeat(3_000_000));
      const before = await storageState();
      const started = cli.start('run', 'srv', '--config', await configure(mountpoint));
      await cli.journalled(kind, started);
      started.kill('SIGKILL');
      expect(await started.ended()).toBe('SIGKILL');
      await sleep(500);
      await writeFile(path.join(mountpoint, 'written'), 'the freeze is gone');

      const recovered = await cli.recover();
      expect(recovered.exitCode, JSON.stringify(recovered.value)).toBe(0);
      expect(await storageState()).toEqual(before);
      expect((await cli.recover()).value.released).toEqual([]);
    },
  );

  it('is refused while it is not in sync, before anything is frozen', async () => {
    const mountpoint = await mirror('ext4');
    const config = await configure(mountpoint);
    await must('lvchange', '--syncaction', 'repair', `${group.vg}/srv`);
    await must('lvchange', '--maxrecoveryrate', '128k', `${group.vg}/srv`);
    await must('umount', mountpoint);
    await must('lvchange', '--activate', 'n', `${group.vg}/srv`);
    await must('lvchange', '--resync', '--yes', `${group.vg}/srv`);
    await must('lvchange', '--activate', 'y', `${group.vg}/srv`);
    await must('mount', `/dev/${group.vg}/srv`, mountpoint);
    const { value } = await cli.runJob('srv', '--config', config);
    expect(value).toMatchObject({ exitCode: 30, error: { code: 'snapshotFailed' }, copies: [] });
    expect(value.error?.message).toContain(`${group.vg}/srv is not whole`);
    expect(value.steps.map(({ step }) => step)).not.toContain('freeze');
    await must('lvchange', '--maxrecoveryrate', '0', `${group.vg}/srv`);
  });

  it('that somebody else split is left alone', async () => {
    const mountpoint = await mirror('ext4');
    await must('lvconvert', '--yes', '--splitmirrors', '1', '--trackchanges', `${group.vg}/srv`);
    const before = await storageState();
    const { value } = await cli.runJob('srv', '--config', await configure(mountpoint));
    expect(value).toMatchObject({ exitCode: 30, copies: [] });
    expect(value.error?.message).toContain('is split already');
    expect(await storageState()).toEqual(before);
    await must('lvconvert', '--yes', '--merge', `${group.vg}/srv_rimage_1`);
    await group.inSync('srv');
  });
});

describeInLab({ kernel: 'refuses' }, 'a mirror on a kernel that would merge a stale half', ({ disks }) => {
  it('is not split', async () => {
    const group = await LabVolumeGroup.make('lab-mirror', disks.slice(0, 2));
    try {
      await group.create('--type', 'raid1', '--mirrors', '1', '--size', '48M', '--name', 'srv');
      await group.inSync('srv');
      const { mountpoint } = await group.mount('srv', 'ext4');
      const before = await storageState();
      const config = path.join(group.directory, 'config.yaml');
      const target = path.join(group.directory, 'backups');
      await mkdir(target);
      const jobs = { srv: { sources: [{ path: mountpoint, snapshot: 'mirror' }], targets: [target] } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const { value } = await new FsbackupCli(group.directory).runJob('srv', '--config', config);
      expect(value).toMatchObject({ exitCode: 20, error: { code: 'notFrozen' }, copies: [] });
      expect(value.error?.message).toContain('does not resync');
      expect(await storageState()).toEqual(before);
    } finally {
      await group.dispose();
    }
  });
});
