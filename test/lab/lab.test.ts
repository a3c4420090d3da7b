import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { describeInLab } from '../support/lab.js';
import { must } from '../support/throwaway-filesystem.js';

describeInLab({}, 'a guest of the lab', (guest) => {
  it('has four empty disks', async () => {
    expect(guest.disks).toHaveLength(4);
    expect(await must('blkid', '--probe', ...guest.disks).catch(() => '')).toBe('');
  });

  it.each(['dm-snapshot', 'dm-thin-pool', 'dm-raid', 'xfs', 'btrfs', 'loop'])(
    'has the module %s',
    async (module) => {
      await must('modprobe', module);
      expect(existsSync(path.join('/sys/module', module.replaceAll('-', '_')))).toBe(true);
    },
  );

  it('has no network', async () => {
    const devices = (await readFile('/proc/net/dev', 'utf8')).trim().split('\n').slice(2);
    expect(devices.map((line) => line.trim().split(':')[0])).toEqual(['lo']);
  });

  it('runs the command line', async () => {
    expect(await must(process.execPath, path.resolve('bin/run.js'), '--version')).toMatch(/^fsbackup\//);
  });
});

describeInLab({}, 'LVM in the lab', (guest) => {
  const [disk = ''] = guest.disks;

  afterAll(async () => {
    await runCommand(['vgremove', '-ff', '-y', 'labself']);
    await runCommand(['wipefs', '-a', disk]);
  });

  it('makes the device nodes of its volumes', async () => {
    await must('vgcreate', '-q', 'labself', disk);
    await must('lvcreate', '-q', '--yes', '--wipesignatures', 'y', '-L', '300M', '-n', 'origin', 'labself');
    expect(existsSync('/dev/labself/origin')).toBe(true);
  });
});

describeInLab({}, 'the kernel of the lab', (guest) => {
  it(`${guest.kernel}, as the lab says`, async () => {
    expect(await must(path.resolve('lab/guest/kernel-behaviour'), guest.disks[0] ?? '')).toBe(guest.kernel);
  });
});

describeInLab({ zfs: true }, 'OpenZFS in the lab', (guest) => {
  const disk = guest.disks[1] ?? '';

  afterAll(async () => {
    await runCommand(['zpool', 'destroy', '-f', 'labself']);
    await runCommand(['wipefs', '-a', disk]);
  });

  it('has the same version in the kernel as in the programs', async () => {
    await must('modprobe', 'zfs');
    const [user = '', kernel = ''] = (await must('zfs', 'version')).split('\n');
    expect(kernel.replace('kmod-', '')).toBe(user);
  });

  it('takes a snapshot', async () => {
    await must('zpool', 'create', '-f', '-O', 'mountpoint=/mnt/lab-zfs', 'labself', disk);
    await must('zfs', 'snapshot', 'labself@now');
    expect(await must('zfs', 'list', '-H', '-t', 'snapshot', '-o', 'name')).toBe('labself@now');
  });
});
