import { mkdir, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { readMounts } from '../../src/system/mountinfo.js';
import { requireWritable } from '../../src/system/probe-writable.js';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { withSealedView } from '../../src/system/sealed-view.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'ext4', 'program:unshare'], 'a sealed view', () => {
  const disks = throwawayDisks(afterAll);

  it('shows the mounts, follows no symlink in them, and nobody else sees it', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const inner = path.join(disk.mountpoint, 'inner');
    await mkdir(inner);
    await mkdir(path.join(disk.mountpoint, 'secret'));
    await symlink(path.join(disk.mountpoint, 'secret'), path.join(disk.mountpoint, 'absolute'));
    await symlink('secret', path.join(disk.mountpoint, 'relative'));
    const mounts = (await readMounts()).filter(({ mountpoint }) => mountpoint === disk.mountpoint);

    await withSealedView(mounts, async ({ directory, under }) => {
      const [first = '', ...rest] = under;
      const inView = (...argv: string[]): Promise<CommandResult> => runCommand([first, ...rest, ...argv]);
      const at = (name: string): string => path.join(directory, disk.mountpoint, name);
      expect((await inView('touch', at('inner/made'))).exitCode).toBe(0);
      for (const name of ['absolute', 'relative']) {
        const through = await inView('touch', at(`${name}/made`));
        expect(through.stderr).toContain('Too many levels of symbolic links');
      }
      expect((await inView('ls', `${directory}/etc`)).stderr).toContain('No such file');
      expect(await readdir(directory)).toEqual([]);
    });
    expect(await readdir(inner)).toEqual(['made']);
    expect(await readdir(path.join(disk.mountpoint, 'secret'))).toEqual([]);
  });

  it('begins no program once a name leads elsewhere than to the mount, and names it', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const theirs = path.join(disks.directory, 'their own');
    const mountpoint = path.join(theirs, 'data');
    const elsewhere = path.join(disks.directory, 'elsewhere');
    for (const one of [mountpoint, elsewhere]) await mkdir(one, { recursive: true });
    await must('mount', '--bind', disk.mountpoint, mountpoint);
    try {
      const mounts = (await readMounts()).filter((mount) => mount.mountpoint === mountpoint);
      await withSealedView(mounts, async ({ directory, under }) => {
        const [first = '', ...rest] = under;
        const make = (): Promise<CommandResult> =>
          runCommand([first, ...rest, 'touch', path.join(directory, mountpoint, 'made')]);
        expect((await make()).exitCode).toBe(0);
        await rename(theirs, `${theirs}.away`);
        await mkdir(theirs);
        await symlink(elsewhere, mountpoint);
        const swapped = await make();
        expect(swapped.exitCode).not.toBe(0);
        expect(swapped.stderr).toContain(`${mountpoint} is not the directory that was looked at`);
      });
      await expect(withSealedView(mounts, () => Promise.resolve())).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining(`${mountpoint} is not the directory that was looked at`),
      });
      expect(await readdir(elsewhere)).toEqual([]);
    } finally {
      await must('umount', path.join(`${theirs}.away`, 'data'));
    }
  });

  it('shows nothing that is mounted in one meanwhile: it would follow symlinks', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const inner = path.join(disk.mountpoint, 'inner');
    await mkdir(inner);
    // As systemd has the machine's mounts.
    await must('mount', '--make-shared', disk.mountpoint);
    const mounts = (await readMounts()).filter(({ mountpoint }) => mountpoint === disk.mountpoint);
    await withSealedView(mounts, async ({ directory, under }) => {
      const [first = '', ...rest] = under;
      const listing = [
        'sh',
        '-c',
        'mkdir "$2/begun"; while [ ! -d "$1/../mounted" ]; do sleep 0.05; done; ls -A "$1"',
        'sh',
        path.join(directory, inner),
        path.join(directory, disk.mountpoint),
      ];
      const listed = runCommand([first, ...rest, ...listing], { timeoutMs: 30_000 });
      while (!(await readdir(disk.mountpoint)).includes('begun')) await sleep(20);
      await must('mount', '-t', 'tmpfs', 'tmpfs', inner);
      try {
        await mkdir(path.join(inner, 'of-the-mount'));
        await mkdir(path.join(disk.mountpoint, 'mounted'));
        expect(await listed).toMatchObject({ exitCode: 0, stdout: '' });
      } finally {
        await must('umount', inner);
      }
    });
  });

  it('keeps what a mount forbids', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4', mountOptions: ['ro', 'nodev'] });
    const mounts = (await readMounts()).filter(({ mountpoint }) => mountpoint === disk.mountpoint);
    await withSealedView(mounts, async ({ directory, under }) => {
      const [first = '', ...rest] = under;
      const touch = await runCommand([first, ...rest, 'touch', path.join(directory, disk.mountpoint, 'x')]);
      expect(touch.stderr).toContain('Read-only file system');
      const shown = await runCommand([first, ...rest, 'cat', '/proc/self/mountinfo']);
      const line = shown.stdout
        .split('\n')
        .find((one) => one.includes(path.join(directory, disk.mountpoint)));
      expect(line).toMatch(/ ro,nodev,[^ ]*nosymfollow/);
    });
  });
});

describeNeeding(['root'], 'whether a directory can be written to', () => {
  const disks = throwawayDisks(afterAll);

  it('is asked without changing anything', async () => {
    const directory = path.join(disks.directory, 'writable');
    await mkdir(directory);
    await requireWritable(directory);
    expect(await readdir(directory)).toEqual([]);
    await writeFile(path.join(directory, 'file'), '');
    await expect(requireWritable(path.join(directory, 'file'))).rejects.toMatchObject({ code: 'usage' });
  });
});
