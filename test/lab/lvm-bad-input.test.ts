import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

describeInLab({ once: 'leaks' }, 'bad input to LVM', ({ disks }) => {
  let group: LabVolumeGroup;
  let cli: FsbackupCli;
  let target: string;

  beforeEach(async () => {
    group = await LabVolumeGroup.make('lab-bad', disks.slice(0, 1));
    target = path.join(group.directory, 'backups');
    await mkdir(target);
    cli = new FsbackupCli(group.directory);
  });

  afterEach(async () => {
    await group.dispose();
  });

  /** Runs a job over it, which must be refused with nothing frozen, made or left. */
  async function refused(source: string) {
    const before = await storageState();
    const run = await cli.runJob('--job', 'srv', '--source', source, '--to', target);
    expect(await storageState()).toEqual(before);
    expect(run.value.copies).toEqual([]);
    for (const { attempts, frozenMs } of run.value.sources)
      expect({ attempts, frozenMs }).toEqual({ attempts: 0, frozenMs: null });
    expect(await cli.journalEntries()).toEqual([]);
    // It was not frozen, and is not.
    await writeFile(path.join(source, 'written'), 'still writable').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EROFS') throw error;
    });
    return run;
  }

  it('is refused in a volume group without room, which the error names with the way out', async () => {
    const { mountpoint } = await group.volume({ lv: 'srv', fstype: 'ext4' });
    await must('lvcreate', '--quiet', '--yes', '-l', '100%FREE', '-n', 'rest', group.vg);
    const { exitCode, value } = await refused(mountpoint);
    expect(exitCode).toBe(30);
    expect(value.error?.message).toContain('lab-bad');
    expect(value.error?.hint).toMatch(/vgextend|lvm\.size/);
  });

  it('is refused for a snapshot of a classic snapshot, which the error names with its origin', async () => {
    await group.volume({ lv: 'srv', fstype: 'ext4' });
    await must('lvcreate', '--quiet', '--yes', '-s', '-L', '64m', '-n', 'monday', `${group.vg}/srv`);
    const mountpoint = path.join(group.directory, 'monday');
    await mkdir(mountpoint);
    await must('mount', '-o', 'ro', `/dev/${group.vg}/monday`, mountpoint);
    const { exitCode, value } = await refused(mountpoint);
    expect(exitCode).toBe(20);
    expect(value.error?.message).toContain('lab-bad/monday is itself a classic snapshot');
    expect(value.error?.message).toContain('lab-bad/srv');
  });

  it('is refused where LVM is not installed', async () => {
    const { mountpoint } = await group.volume({ lv: 'srv', fstype: 'ext4' });
    await rename('/usr/sbin/lvs', '/usr/sbin/lvs.away');
    let run;
    try {
      run = await cli.runJob('--job', 'srv', '--source', mountpoint, '--to', target);
    } finally {
      await rename('/usr/sbin/lvs.away', '/usr/sbin/lvs');
    }
    expect(run.exitCode).toBe(20);
    expect(run.value.error?.message).toContain(mountpoint);
    expect(run.value.error?.message).toContain('lvm2 is not installed');
    expect(run.value.error?.hint).toContain('lvm2');
  });

  it('is refused for btrfs, whose copy could not be mounted beside it', async () => {
    await must('lvcreate', '--quiet', '--yes', '-L', '300m', '-n', 'srv', group.vg);
    await must('mkfs.btrfs', '-q', '-f', `/dev/${group.vg}/srv`);
    const mountpoint = path.join(group.directory, 'srv');
    await mkdir(mountpoint);
    await must('mount', `/dev/${group.vg}/srv`, mountpoint);
    // The top of a btrfs is a subvolume: its own snapshots are what `auto` takes.
    const plan = await cli.plan('--job', 'srv', '--source', mountpoint, '--to', target);
    expect(plan.value.sources).toMatchObject([{ provider: 'btrfs', freezeMode: 'atomic' }]);
    const file = path.join(group.directory, 'config.yaml');
    const source = { path: mountpoint, snapshot: 'lvm' };
    const config = { version: 1, jobs: { srv: { sources: [source], targets: [target] } } };
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    const { exitCode, value } = await cli.runJob('srv', '--config', file);
    expect({ exitCode, message: value.error?.message }).toEqual({
      exitCode: 20,
      message: expect.stringContaining('a copy of a btrfs has its UUID'),
    });
  });
});
