import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { DoctorReport } from '../../src/doctor/report.js';
import { testNestedFreeze } from '../../src/system/nested-freeze.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { LabPool } from '../support/lab-pool.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, type LabVolume } from '../support/lvm-lab.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

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

  /** Which findings of a mountpoint there are, in their order. */
  function statuses({ mountpoints }: DoctorReport, mountpoint: string): string[] {
    const report = mountpoints.find((one) => one.mountpoint === mountpoint);
    return (report?.findings ?? []).map(({ check, status }) => `${check} ${status}`);
  }

  it('shows a thin volume, and finds the pool that fills up before a run does', async () => {
    await group.pool('pool', 64);
    const { mountpoint } = await group.volume({ lv: 'srv', fstype: 'ext4', sizeMiB: 48, pool: 'pool' });
    const well = await doctor(mountpoint);
    expect(well.mountpoints).toMatchObject([{ provider: 'lvm', freezeMode: 'native' }]);
    expect(statuses(well, mountpoint)).toEqual(['mode ok', 'snapshot ok', 'room ok', 'room ok']);
    const rooms = well.mountpoints[0]?.findings.filter(({ check }) => check === 'room') ?? [];
    expect(rooms.map(({ summary }) => summary)).toEqual([
      expect.stringMatching(/^the thin pool lab-doctor\/pool is \d+\.\d % full$/),
      expect.stringMatching(/^the metadata of the thin pool lab-doctor\/pool is \d+\.\d % full$/),
    ]);

    // Not to its end: a full pool stalls whoever writes.
    await group.create('-V', '96m', '--thinpool', 'pool', '-n', 'other');
    const filled = async (): Promise<number> =>
      Number(await must('lvs', '--noheadings', '-o', 'data_percent', `${group.vg}/pool`));
    for (let written = 0; (await filled()) < 95; written += 1) {
      const dd = ['if=/dev/urandom', `of=/dev/${group.vg}/other`, 'bs=1M', 'count=1', `seek=${written}`];
      await must('dd', ...dd, 'oflag=direct', 'conv=notrunc', 'status=none');
    }
    expect(statuses(await doctor(mountpoint), mountpoint)).toEqual([
      'mode ok',
      'snapshot problem',
      'room problem',
      'room ok',
    ]);
  });

  it('finds that there is room for each of two snapshots, and not for both, as the run does', async () => {
    const one = await group.volume({ lv: 'one', fstype: 'ext4' });
    const two = await group.volume({ lv: 'two', fstype: 'ext4' });
    await group.create('--extents', '100%FREE', '--name', 'rest');
    await must('lvreduce', '--force', '--yes', '--size', '-100m', `${group.vg}/rest`);
    const job = (...volumes: LabVolume[]) => ({
      sources: volumes.map((volume) => ({ path: volume.mountpoint, lvm: { size: '60MiB' } })),
      targets: [group.directory],
      attempts: 1,
    });
    const file = path.join(group.directory, 'config.yaml');
    const examine = async (jobs: object): Promise<DoctorReport> => {
      await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      return await doctor('--config', file);
    };
    const alone = await examine({ one: job(one), two: job(two) });
    for (const { mountpoint } of [one, two])
      expect(statuses(alone, mountpoint)).toEqual(['mode ok', 'snapshot ok', 'room ok']);
    const both = await examine({ both: job(one, two) });
    for (const { mountpoint } of [one, two])
      expect(statuses(both, mountpoint)).toEqual(['mode ok', 'snapshot problem', 'room ok']);
    const run = await cli.runJob('both', '--config', file);
    expect(run).toMatchObject({ exitCode: 30, value: { error: { code: 'snapshotFailed' } } });
    const said = both.mountpoints[0]?.findings.find(({ check }) => check === 'snapshot');
    expect(said?.summary).toBe(run.value.error?.message);
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

describeInLab({ zfs: true }, 'doctor on ZFS', () => {
  const disks = throwawayDisks(afterAll);
  let pool: LabPool;
  let halves: string[];

  beforeAll(async () => {
    halves = ['a', 'b'].map((name) => path.join(disks.directory, `${name}.img`));
    await must('truncate', '--size=512M', ...halves);
    pool = await LabPool.make('lab-doctor', ['mirror', ...halves]);
  });
  afterAll(async () => {
    await pool.dispose();
  });

  it('shows a dataset and a zvol, what is in the way of one, and a pool that is not well', async () => {
    const cli = new FsbackupCli(disks.directory);
    const doctor = async (...mountpoints: string[]): Promise<DoctorReport> => {
      const { stdout, stderr } = await cli.run('doctor', ...mountpoints, '--json');
      if (stdout === '') throw new Error(stderr);
      return JSON.parse(stdout) as DoctorReport;
    };
    const findings = ({ mountpoints }: DoctorReport): string[][] =>
      mountpoints.map((one) => one.findings.map(({ check, status }) => `${check} ${status}`));

    const srv = await pool.dataset('srv');
    const vol = await pool.mountedZvol('vol', 'ext4');
    const well = await doctor(srv, vol);
    expect(well.mountpoints).toMatchObject([
      { mountpoint: srv, fstype: 'zfs', provider: 'zfs', freezeMode: 'atomic' },
      { mountpoint: vol, fstype: 'ext4', provider: 'zfs', freezeMode: 'explicit' },
    ]);
    const good = ['mode ok', 'snapshot ok', 'pool-health ok', 'room ok'];
    expect(findings(well)).toEqual([good, good]);
    expect(well.mountpoints[0]?.findings.at(-1)?.summary).toMatch(/^the pool lab-doctor is \d+\.0 % full$/);

    // All that was written could have to be written once more, for which nothing is left.
    await must('dd', 'if=/dev/urandom', `of=${srv}/file`, 'bs=1M', 'count=60', 'status=none');
    const available = await must('zfs', 'get', '-H', '-p', '-o', 'value', 'available', pool.pool);
    await must('zfs', 'set', `refreservation=${Number(available) + 40 * 1024 * 1024}`, `${pool.pool}/srv`);
    await must('zpool', 'offline', pool.pool, halves[1] ?? '');
    expect(findings(await doctor(srv))).toEqual([
      ['mode ok', 'snapshot problem', 'pool-health warning', 'room ok'],
    ]);
  });
});
