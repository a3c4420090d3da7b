import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Finding } from '../../src/doctor/finding.js';
import type { DoctorReport, MountpointReport } from '../../src/doctor/report.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const UNPRIVILEGED = [
  'setpriv',
  '--reuid=65534',
  '--regid=65534',
  '--clear-groups',
  // Who may read the checkout wherever it lies.
  '--inh-caps=+dac_read_search',
  '--ambient-caps=+dac_read_search',
] as const;

const LIMIT_FILE = '/proc/sys/kernel/hung_task_timeout_secs';

function all({ findings, mountpoints }: DoctorReport): Finding[] {
  return [...findings, ...mountpoints.flatMap((one) => one.findings)];
}

function byCheck(findings: readonly Finding[], check: string): Finding[] {
  return findings.filter((finding) => finding.check === check);
}

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync'], 'doctor', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let storage: ThrowawayFilesystem;
  let disk: ThrowawayFilesystem;

  beforeAll(async () => {
    cli = new FsbackupCli(disks.directory);
    storage = await disks.filesystem({ fstype: 'xfs' });
    disk = await disks.filesystem({ fstype: 'ext4', on: storage });
  });

  async function doctor(...args: string[]): Promise<{ exitCode: number | undefined; report: DoctorReport }> {
    const { exitCode, stdout, stderr } = await cli.run('doctor', ...args, '--json');
    if (stdout === '') throw new Error(stderr);
    return { exitCode, report: JSON.parse(stdout) as DoctorReport };
  }

  /** Of the one filesystem that was asked about. */
  async function doctorOf(mountpoint: string): Promise<MountpointReport> {
    const { report } = await doctor(mountpoint);
    expect(report.mountpoints).toHaveLength(1);
    return report.mountpoints[0] as MountpointReport;
  }

  it('tells what a run would do with an image file, as plan does, and leaves nothing', async () => {
    const report = await doctorOf(disk.mountpoint);
    expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });

    const target = path.join(disks.directory, 'plan-target');
    await mkdir(target);
    const { value: plan } = await cli.plan('--job', 'srv', '--source', disk.mountpoint, '--to', target);
    const { mountpoint, device, fstype, provider, freezeMode, freezeModeReason, consistency } = report;
    expect(plan.sources).toMatchObject([
      { mountpoint, device, fstype, provider, freezeMode, freezeModeReason, consistency },
    ]);
    expect(report).toMatchObject({ provider: 'reflink', job: null });
    expect(report.stack).toMatchObject([{ device: disk.device, type: 'loop', image: disk.image }]);
    expect(report.findings.map(({ check, status }) => [check, status])).toEqual([
      ['mode', 'ok'],
      ['room', 'ok'],
    ]);
  });

  it('takes btrfs as atomic, and a directory for the filesystem that holds it', async () => {
    const btrfs = await disks.filesystem({ fstype: 'btrfs' });
    await mkdir(path.join(btrfs.mountpoint, 'inside'));
    const report = await doctorOf(path.join(btrfs.mountpoint, 'inside'));
    expect(report).toMatchObject({ mountpoint: btrfs.mountpoint, provider: 'btrfs', freezeMode: 'atomic' });
    expect(byCheck(report.findings, 'snapshot')).toMatchObject([{ status: 'ok' }]);
  });

  it('names the snapshots of a state directory that was lost, and none that is known', async () => {
    const btrfs = await disks.filesystem({ fstype: 'btrfs', sizeMiB: 256 });
    const lost = new FsbackupCli(path.join(disks.directory, 'lost'));
    await mkdir(path.join(disks.directory, 'lost'));
    const target = path.join(disks.directory, 'sent');
    await mkdir(target);
    const run = ['--source', btrfs.mountpoint, '--to', target, '--engine', 'btrfs-send'];
    const { value } = await lost.runJob('--job', 'srv', ...run);
    const snapshot = path.join(btrfs.mountpoint, '.fsbackup-snapshots', `fsbackup-srv-${value.runId}-0`);
    const unknown = async (of: FsbackupCli): Promise<Finding[]> => {
      const { stdout } = await of.run('doctor', btrfs.mountpoint, '--json');
      return byCheck(all(JSON.parse(stdout) as DoctorReport), 'unknown-snapshot');
    };
    expect(await unknown(lost)).toEqual([]);
    const [finding, ...others] = await unknown(cli);
    expect([finding?.status, finding?.fix, others]).toEqual([
      'warning',
      `btrfs subvolume delete ${snapshot}`,
      [],
    ]);
    await must('btrfs', 'subvolume', 'delete', snapshot);
    expect(await unknown(cli)).toEqual([]);

    const clone = path.join(storage.mountpoint, '.fsbackup-snapshots');
    await mkdir(clone, { mode: 0o700 });
    const image = path.join(clone, 'fsbackup-srv-20261127T153650Z-683dd3-0.img');
    await writeFile(image, '');
    await writeFile(path.join(clone, 'other'), '');
    const { report } = await doctor(disk.mountpoint);
    expect(byCheck(all(report), 'unknown-snapshot')).toMatchObject([{ fix: `rm ${image}` }]);
    await must('rm', '-r', clone);
  });

  it('finds a problem in what is asked about and cannot be snapshotted', async () => {
    const onExt4 = await disks.filesystem({ fstype: 'ext4', on: disk, sizeMiB: 16 });
    const { exitCode, report } = await doctor(onExt4.mountpoint);
    const [mountpoint] = report.mountpoints;
    expect(mountpoint).toMatchObject({ provider: null, freezeMode: null, consistency: null, fstype: 'ext4' });
    expect(mountpoint?.findings).toMatchObject([{ check: 'mode', status: 'problem' }]);
    expect(exitCode).toBe(1);
  });

  it('looks at all that is mounted when nothing is named and nothing configured', async () => {
    const { exitCode, report } = await doctor();
    const found = report.mountpoints.map(({ mountpoint }) => mountpoint);
    expect(found).toEqual(expect.arrayContaining([disk.mountpoint, storage.mountpoint]));
    expect(new Set(found).size).toBe(found.length);
    const worst = all(report).some(({ status }) => status === 'problem') ? 1 : 3;
    expect(exitCode).toBe(all(report).every(({ status }) => status === 'ok') ? 0 : worst);
  });

  it('looks at the sources, the targets and the programs of a configuration', async () => {
    const target = path.join(disks.directory, 'target');
    const file = path.join(disks.directory, 'config.yaml');
    const jobs = { srv: { sources: [disk.mountpoint], targets: [target] } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), {
      mode: 0o600,
    });
    const missing = await doctor('--config', file);
    expect(byCheck(missing.report.findings, 'target-srv')).toMatchObject([{ status: 'problem' }]);
    expect(missing.report.mountpoints).toMatchObject([{ job: 'srv', provider: 'reflink' }]);
    expect(missing.exitCode).toBe(1);

    await mkdir(target);
    const { report } = await doctor('--config', file);
    expect(byCheck(report.findings, 'target-srv')).toMatchObject([{ status: 'ok' }]);
    expect(byCheck(report.findings, 'tool-rsync')).toMatchObject([{ status: 'ok' }]);
    expect(byCheck(report.findings, 'configuration')).toMatchObject([{ status: 'ok' }]);
  });

  it("holds the kernel's hung-task limit against the jobs, and reads their configuration all the same", async () => {
    const file = path.join(disks.directory, 'holds.yaml');
    const limit = path.join(disks.directory, 'limit');
    await writeFile(limit, '30\n');
    const job = { sources: [disk.mountpoint], targets: [disks.directory] };
    const lowered = [
      'unshare',
      '--mount',
      'bash',
      '-ec',
      `mount --bind '${limit}' "$0"; exec "$@"`,
      LIMIT_FILE,
    ];
    const findings = async (maxHold: string): Promise<Finding[]> => {
      const jobs = { short: { ...job, freeze: { maxHold: '20s' } }, srv: { ...job, freeze: { maxHold } } };
      await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const { stdout } = await cli.runUnder(lowered, 'doctor', '--config', file, '--json');
      const report = JSON.parse(stdout) as DoctorReport;
      return ['configuration', 'hung-task'].flatMap((check) => byCheck(report.findings, check));
    };
    expect(await findings('30s')).toMatchObject([{ status: 'ok' }, { status: 'ok' }]);
    expect(await findings('40s')).toMatchObject([
      { status: 'ok' },
      { status: 'problem', summary: expect.stringContaining('a freeze of srv may last 40s') as string },
    ]);
  });

  it('goes on past a source that is not there, and a configuration that is none', async () => {
    const file = path.join(disks.directory, 'half.yaml');
    const gone = path.join(disks.directory, 'gone');
    const jobs = { srv: { sources: [gone, disk.mountpoint], targets: [disks.directory] } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const half = await doctor('--config', file);
    expect(half.report.mountpoints).toMatchObject([
      { mountpoint: gone, provider: null, findings: [{ status: 'problem' }] },
      { mountpoint: disk.mountpoint, provider: 'reflink' },
    ]);
    expect(half.exitCode).toBe(1);

    await writeFile(file, 'version: 1\nnonsense: true\n');
    const none = await doctor('--config', file, disk.mountpoint);
    expect(byCheck(none.report.findings, 'configuration')).toMatchObject([
      { status: 'problem', fix: `fsbackup config validate --config ${file}` },
    ]);
    expect(none.report.mountpoints).toMatchObject([{ provider: 'reflink' }]);
  });

  it('finds what a dead run left', async () => {
    const journal = path.join(cli.environment.FSBACKUP_STATE_DIR, 'journal');
    await mkdir(journal, { recursive: true, mode: 0o700 });
    const entry = {
      version: 1,
      id: 'x-0-snapshot',
      kind: 'snapshot',
      createdAt: '2026-01-02T03:04:05.000Z',
      bootId: 'another',
      runId: 'x',
      job: 'srv',
      pid: 2 ** 22 + 1,
      startTime: 1,
      payload: {
        provider: 'reflink',
        name: 'fsbackup-srv-x-0',
        mountpoint: disk.mountpoint,
        fstype: 'ext4',
        takenFrozen: true,
        data: {},
      },
    };
    const file = path.join(journal, 'x-0-snapshot.json');
    await writeFile(file, JSON.stringify(entry));
    const { report } = await doctor(disk.mountpoint);
    await rename(file, path.join(disks.directory, 'entry.json'));
    const [finding] = byCheck(report.findings, 'left-behind');
    expect(finding).toMatchObject({ status: 'warning', fix: 'fsbackup recover' });
    expect(finding?.summary).toContain('fsbackup-srv-x-0');
  });

  it('looks at what is held frozen without waiting for it, and says who holds it', async () => {
    await cli.run('freeze', '--timeout', '60', disk.mountpoint);
    try {
      const { report } = await doctor(disk.mountpoint);
      expect(byCheck(report.findings, 'frozen')).toMatchObject([{ status: 'ok' }]);
      expect(report.mountpoints).toMatchObject([{ provider: 'reflink' }]);
    } finally {
      expect((await cli.run('thaw', disk.mountpoint)).exitCode).toBe(0);
    }
  });

  it('does not forget for anybody that a freeze was lost', async () => {
    await cli.run('freeze', '--timeout', '2', disk.mountpoint);
    await sleep(3000);
    await doctor(disk.mountpoint);
    expect((await cli.run('thaw', disk.mountpoint)).exitCode).toBe(21);
  });

  it('tells people the same, a line for each finding', async () => {
    const { exitCode, report } = await doctor(disk.mountpoint);
    const people = await cli.run('doctor', disk.mountpoint);
    expect(people.exitCode).toBe(exitCode);
    const text = people.stdout.split('\n');
    for (const { check, summary } of all(report)) {
      expect(text.filter((line) => line.endsWith(`${check}: ${summary}`))).toHaveLength(1);
    }
    expect(people.stdout).toContain(`${disk.mountpoint} (ext4 on ${disk.device})`);
  });

  it('does without root what it can, and says so', async () => {
    const elsewhere = new FsbackupCli(path.join(disks.directory, 'nobody'));
    const { exitCode, stdout } = await elsewhere.runUnder(UNPRIVILEGED, 'doctor', disk.mountpoint, '--json');
    const report = JSON.parse(stdout) as DoctorReport;
    expect(exitCode).toBe(1);
    expect(byCheck(report.findings, 'root')).toMatchObject([
      { status: 'problem', fix: 'sudo fsbackup doctor' },
    ]);
    expect(byCheck(report.findings, 'watchdogs')).toMatchObject([{ status: 'problem' }]);
    expect(report.mountpoints).toHaveLength(1);
  });

  it.each([
    ['a path that does not exist', '/does/not/exist', 'does not exist'],
    ['a file', '/etc/passwd', 'is not a directory'],
    ['a path below a file', '/etc/passwd/x', 'does not exist'],
  ])('refuses %s', async (_, argument, said) => {
    const { exitCode, stderr, stdout } = await cli.run('doctor', argument, '--json');
    expect(exitCode).toBe(2);
    expect(stderr).toContain(`${argument} ${said}`);
    expect(JSON.parse(stdout)).toMatchObject({ error: { exitCode: 2 } });
  });

  it('refuses a --config that does not exist', async () => {
    expect((await cli.run('doctor', '--config', '/does/not/exist')).exitCode).toBe(2);
  });
});
