import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { flipByteOfLargest } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'xfs', 'ext4', 'program:zstd', 'program:rsync'] as const;

describeNeeding(NEEDS, 'fsbackup restore --image', () => {
  const disks = throwawayDisks(afterAll);
  let origin: ThrowawayFilesystem;
  let scratch: ThrowawayFilesystem;
  let target: string;
  let cli: FsbackupCli;

  beforeAll(async () => {
    const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
    origin = await disks.filesystem({ fstype: 'ext4', sizeMiB: 128, on: outer });
    scratch = await disks.filesystem({ fstype: 'ext4', sizeMiB: 1024 });
    target = path.join(scratch.mountpoint, 'backups');
    await mkdir(target);
    cli = new FsbackupCli(scratch.mountpoint);
    await writeFile(path.join(origin.mountpoint, 'file'), 'content');
    const args = ['--source', origin.mountpoint, '--to', target] as const;
    for (const engine of ['image', 'rsync']) {
      const { exitCode, stderr } = await cli.runJob('--job', engine, ...args, '--engine', engine);
      expect(exitCode, stderr).toBe(0);
    }
  });

  const restore = (job: string, to: string, ...more: string[]) =>
    cli.run('restore', job, '--from', target, '--image', '--to', to, ...more);

  async function expectFilesystem(device: string): Promise<void> {
    const mountpoint = path.join(disks.directory, `mnt-${path.basename(device)}`);
    await mkdir(mountpoint);
    await must('mount', '-o', 'ro,loop', device, mountpoint);
    expect(await readFile(path.join(mountpoint, 'file'), 'utf8')).toBe('content');
    await must('umount', mountpoint);
  }

  it('writes a filesystem to a new file, private and as large as its device', async () => {
    const file = path.join(scratch.mountpoint, 'new.img');
    const { exitCode, stderr, stdout } = await restore('image', file);
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain(file);
    const { size, mode, blocks } = await stat(file);
    expect([size, (mode & 0o777).toString(8)]).toEqual([128 * 1024 * 1024, '600']);
    // Sparse where nothing was.
    expect(blocks * 512).toBeLessThan(size / 2);
    await expectFilesystem(file);
  });

  it('fails where the room ends within the last piece', async () => {
    const small = path.join(disks.directory, 'small');
    await mkdir(small);
    const file = path.join(small, 'x.img');
    let takes = 512 * 1024;
    const ends: (number | undefined)[] = [];
    for (const less of [0, 4, 8]) {
      await must('mount', '-t', 'tmpfs', '-o', `size=${takes - less}k`, 'none', small);
      try {
        ends.push((await restore('image', file)).exitCode);
        if (less === 0) takes = (await stat(file)).blocks / 2;
      } finally {
        await must('umount', small);
      }
    }
    expect(ends).toEqual([0, 40, 40]);
  });

  it('writes over what is there when it is told to, and not before', async () => {
    const file = path.join(scratch.mountpoint, 'there.img');
    await writeFile(file, 'precious');
    const refused = await restore('image', file);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toMatch(/--force/);
    expect(await readFile(file, 'utf8')).toBe('precious');
    expect((await restore('image', file, '--force')).exitCode).toBe(0);
    await expectFilesystem(file);
  });

  it('refuses a device that is in use, and one that is too small', async () => {
    const busy = await restore('image', origin.device, '--force');
    expect([busy.exitCode, busy.stderr]).toEqual([2, expect.stringMatching(/in use/)]);
    const file = path.join(scratch.mountpoint, 'small.img');
    await writeFile(file, '');
    await truncate(file, 8 * 1024 * 1024);
    const device = await must('losetup', '--find', '--show', file);
    try {
      const small = await restore('image', device, '--force');
      expect([small.exitCode, small.stderr]).toEqual([2, expect.stringMatching(/as large/)]);
    } finally {
      await must('losetup', '--detach', device);
    }
  });

  it('refuses a file that a loop device reads, and leaves it as it is', async () => {
    const before = await stat(origin.image);
    const refused = await restore('image', origin.image, '--force');
    expect([refused.exitCode, refused.stderr]).toEqual([
      2,
      expect.stringContaining(`in use: it is what ${origin.device} reads`),
    ]);
    expect((await stat(origin.image)).mtimeMs).toBe(before.mtimeMs);
    expect(await readFile(path.join(origin.mountpoint, 'file'), 'utf8')).toBe('content');
  });

  it('leaves no new file behind that is not the whole', async () => {
    const copy = path.join(scratch.mountpoint, 'damaged');
    await must('cp', '--archive', target, copy);
    await flipByteOfLargest(path.join(copy, 'image'));
    const file = path.join(scratch.mountpoint, 'damaged.img');
    const { exitCode, stderr } = await cli.run('restore', 'image', '--from', copy, '--image', '--to', file);
    expect(exitCode, stderr).toBe(40);
    await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('refuses a directory, a place among the backups, and a backup that holds files', async () => {
    const directory = await restore('image', scratch.mountpoint, '--force');
    expect([directory.exitCode, directory.stderr]).toEqual([2, expect.stringMatching(/is a directory/)]);
    const inside = await restore('image', path.join(target, 'image', 'x.img'));
    expect([inside.exitCode, inside.stderr]).toEqual([2, expect.stringMatching(/inside the backups/)]);
    const files = await restore('rsync', path.join(scratch.mountpoint, 'x.img'));
    expect([files.exitCode, files.stderr]).toEqual([2, expect.stringMatching(/no images/)]);
    const other = await restore('image', path.join(scratch.mountpoint, 'y.img'), '/elsewhere');
    expect(other.exitCode).toBe(2);
  });

  it('refuses to plan images of what lies on no device, and patterns', async () => {
    const what = ['--job', 'x', '--source', origin.mountpoint, '--to', target] as const;
    const live = await cli.run('plan', ...what, '--engine', 'btrfs-send');
    expect([live.exitCode, live.stderr]).toEqual([2, expect.stringMatching(/sends snapshots of btrfs/)]);
    const file = path.join(scratch.mountpoint, 'config.yaml');
    const source = { path: origin.mountpoint, exclude: ['*.tmp'] };
    const jobs = { x: { sources: [source], targets: [{ path: target, engine: 'image' }] } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const patterns = await cli.run('config', 'validate', '--config', file);
    expect([patterns.exitCode, patterns.stderr]).toEqual([2, expect.stringMatching(/exclude nothing/)]);
  });
});
