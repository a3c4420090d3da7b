import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DoctorReport } from '../../src/doctor/report.js';
import { testNestedFreeze } from '../../src/system/nested-freeze.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

describeInLab({}, 'doctor on real volumes', ({ kernel, disks }) => {
  let group: LabVolumeGroup;
  let cli: FsbackupCli;

  beforeEach(async () => {
    group = await LabVolumeGroup.make('lab-doctor', disks.slice(0, 1));
    cli = new FsbackupCli(group.directory);
  });
  afterEach(async () => {
    await group.dispose();
  });

  async function doctor(...args: string[]): Promise<DoctorReport> {
    const { stdout, stderr } = await cli.run('doctor', ...args, '--json');
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as DoctorReport;
  }

  it('finds out what device-mapper meets on this kernel when it suspends what is frozen', async () => {
    expect(await testNestedFreeze()).toEqual({ behaviour: kernel });
  });

  it('warns of a kernel that leaks, where there is LVM', async () => {
    await group.create('--size', '64M', '--name', 'srv');
    const { findings } = await doctor('/');
    const finding = findings.find(({ check }) => check === 'nested-freeze');
    expect(finding?.summary).toContain(` ${kernel} `);
    expect(finding?.status).toBe(kernel === 'leaks' ? 'warning' : 'ok');
  });

  it('shows a logical volume, and that LVM freezes it by itself', async () => {
    await group.create('--size', '128M', '--name', 'srv');
    const { mountpoint } = await group.mount('srv', 'ext4');
    const { mountpoints } = await doctor(mountpoint);
    expect(mountpoints).toMatchObject([
      { mountpoint, fstype: 'ext4', provider: 'lvm', freezeMode: 'native', consistency: 'filesystem' },
    ]);
    const [report] = mountpoints;
    expect(report?.stack.map(({ type }) => type)).toEqual(['lvm', 'disk']);
    expect(report?.findings.map(({ check, status }) => [check, status])).toEqual([
      ['mode', 'ok'],
      ['snapshot', 'ok'],
      ['room', 'ok'],
    ]);
  });

  it('finds a volume group without room for a snapshot', async () => {
    await group.create('--extents', '100%FREE', '--name', 'srv');
    const { mountpoint } = await group.mount('srv', 'ext4');
    const { mountpoints } = await doctor(mountpoint);
    expect(mountpoints[0]?.findings.map(({ check, status }) => [check, status])).toEqual([
      ['mode', 'ok'],
      ['snapshot', 'problem'],
      ['room', 'problem'],
    ]);
  });

  it('finds a device that was left suspended, and has the command that brings it back as it was', async () => {
    await group.create('--size', '64M', '--name', 'srv');
    const device = `/dev/${group.vg}/srv`;
    const table = await must('dmsetup', 'table', device);
    await must('dmsetup', 'suspend', device);
    try {
      // As a killed lvcreate leaves one: a resume alone would make it live.
      await must('dmsetup', 'load', device, '--table', `0 ${table.split(' ')[1] ?? ''} error`);
      const { findings } = await doctor('/');
      const found = findings.filter(({ check }) => check === 'suspended-device');
      expect(found).toMatchObject([
        { status: 'problem', fix: 'dmsetup clear lab--doctor-srv; dmsetup resume lab--doctor-srv' },
      ]);
      await must('sh', '-c', found[0]?.fix ?? 'false');
      expect(await must('dmsetup', 'table', device)).toBe(table);
      await must('dd', `if=${device}`, 'of=/dev/null', 'bs=64K', 'count=1', 'iflag=direct', 'status=none');
    } finally {
      await must('dmsetup', 'clear', device);
      await must('dmsetup', 'resume', device);
    }
  });
});
