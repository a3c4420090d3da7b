import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readMounts } from '../../src/system/mountinfo.js';
import { requireWritable } from '../../src/system/probe-writable.js';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { withSealedView } from '../../src/system/sealed-view.js';
import { describeNeeding } from '../support/capabilities.js';
import { throwawayDisks } from '../support/throwaway-filesystem.js';

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
