import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, storageState } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

// On the kernel that refuses a nested freeze: that ours works here shows that nothing is nested.
describeInLab({ kernel: 'refuses' }, 'a LUKS container on a logical volume', ({ disks }) => {
  let group: LabVolumeGroup;
  let cli: FsbackupCli;
  let mountpoint: string;
  let keyFile: string;
  let target: string;

  beforeEach(async () => {
    group = await LabVolumeGroup.make('lab', disks.slice(0, 1));
    cli = new FsbackupCli(group.directory);
    mountpoint = path.join(group.directory, 'srv');
    target = path.join(group.directory, 'backups');
    keyFile = path.join(group.directory, 'key');
    await mkdir(mountpoint);
    await mkdir(target);
    await writeFile(keyFile, 'a key of the test', { mode: 0o600 });
  });

  afterEach(async () => {
    await must('umount', mountpoint);
    await must('cryptsetup', 'close', 'unlocked');
    await group.dispose();
  });

  async function encrypted(type: 'luks1' | 'luks2'): Promise<void> {
    await group.create('--size', '128M', '--name', 'srv');
    const device = `/dev/${group.vg}/srv`;
    const cheap = type === 'luks1' ? [] : ['--pbkdf', 'pbkdf2'];
    const format = ['--batch-mode', '--type', type, ...cheap, '--pbkdf-force-iterations', '1000'];
    await must('cryptsetup', 'luksFormat', ...format, device, keyFile);
    await must('cryptsetup', 'open', '--key-file', keyFile, device, 'unlocked');
    await must('mkfs.ext4', '-q', '/dev/mapper/unlocked');
    await must('mount', '/dev/mapper/unlocked', mountpoint);
    await writeFile(path.join(mountpoint, 'file'), 'a secret');
  }

  async function run(lvm: object) {
    const config = path.join(group.directory, 'config.yaml');
    const jobs = { srv: { sources: [{ path: mountpoint, lvm }], targets: [target], attempts: 1 } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    return await cli.runJob('srv', '--config', config);
  }

  it('is opened over the snapshot by its key in the kernel, which no file tells', async () => {
    await encrypted('luks1');
    const key = (await must('dmsetup', 'table', '--showkeys', 'unlocked')).split(' ')[4] ?? '';
    expect(key).toMatch(/^[0-9a-f]{64,}$/);
    const before = await storageState();
    const { value, stderr } = await run({});
    expect(value, stderr).toMatchObject({
      outcome: 'success',
      consistency: 'filesystem',
      sources: [{ provider: 'lvm', freezeMode: 'explicit' }],
    });
    expect(await storageState()).toEqual(before);
    const found = await runCommand(['grep', '-rlF', '-e', key, cli.environment.FSBACKUP_STATE_DIR]);
    expect(found).toMatchObject({ exitCode: 1, stdout: '' });
    expect(`${JSON.stringify(value)}${stderr}`).not.toContain(key);
    const restored = path.join(group.directory, 'restored');
    expect(await cli.run('restore', 'srv', '--from', target, '--to', restored)).toMatchObject({
      exitCode: 0,
    });
    expect(await readFile(path.join(restored, mountpoint, 'file'), 'utf8')).toBe('a secret');
  });

  it('whose key is in the keyring is refused without a key file, and opened with one', async () => {
    await encrypted('luks2');
    const before = await storageState();
    const refused = await run({});
    expect(refused.value).toMatchObject({ exitCode: 30, error: { code: 'snapshotFailed' }, copies: [] });
    expect(refused.value.error?.hint).toContain('lvm: { keyFile:');
    expect(refused.value.steps.map(({ step }) => step)).not.toContain('freeze');
    const { value, stderr } = await run({ keyFile });
    expect(value, stderr).toMatchObject({ outcome: 'success', consistency: 'filesystem' });
    expect(await storageState()).toEqual(before);
  });
});

describeInLab({ once: 'refuses' }, 'a partition on a logical volume', ({ disks }) => {
  let group: LabVolumeGroup;
  let mountpoint: string;

  beforeEach(async () => {
    group = await LabVolumeGroup.make('lab', disks.slice(0, 1));
    mountpoint = path.join(group.directory, 'srv');
    await mkdir(mountpoint);
  });

  afterEach(async () => {
    await runCommand(['umount', mountpoint], { timeoutMs: 60_000 });
    await runCommand(['dmsetup', 'remove', '--retry', 'lab-srv1'], { timeoutMs: 60_000 });
    await group.dispose();
  });

  it('as kpartx maps it is frozen by us, since lvcreate would not, and mapped over the snapshot', async () => {
    await group.create('--size', '128M', '--name', 'srv');
    const device = `/dev/${group.vg}/srv`;
    const uuid = await must('dmsetup', 'info', '-c', '--noheadings', '-o', 'uuid', device);
    const sectors = String((100 * 2 ** 20) / 512);
    await must(
      'dmsetup',
      'create',
      'lab-srv1',
      '--uuid',
      `part1-${uuid}`,
      '--table',
      `0 ${sectors} linear ${device} 2048`,
    );
    await must('mkfs.ext4', '-q', '-F', '/dev/mapper/lab-srv1');
    await must('mount', '/dev/mapper/lab-srv1', mountpoint);
    await writeFile(path.join(mountpoint, 'file'), 'on a partition');
    const target = path.join(group.directory, 'backups');
    await mkdir(target);
    const before = await storageState();
    const cli = new FsbackupCli(group.directory);
    const { value, stderr } = await cli.runJob('--job', 'srv', '--source', mountpoint, '--to', target);
    expect(value, stderr).toMatchObject({
      consistency: 'filesystem',
      sources: [{ provider: 'lvm', freezeMode: 'explicit', frozenMs: expect.any(Number) }],
    });
    const file = path.join(target, 'srv', value.runId, 'data', mountpoint, 'file');
    expect(await readFile(file, 'utf8')).toBe('on a partition');
    expect(await storageState()).toEqual(before);
  });
});
