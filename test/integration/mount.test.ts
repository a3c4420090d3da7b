import { lstat, mkdir, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { backupDirectory, dataDirectory, type BackupRef } from '../../src/copy/backup/backup-layout.js';
import { findBackup } from '../../src/copy/backup/backup-select.js';
import type { CopyEngine } from '../../src/copy/engine.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import { mountBackup } from '../../src/copy/mount/mount-backup.js';
import { readMountedBackups } from '../../src/copy/mount/mount-records.js';
import { isMountedAt } from '../../src/system/mount.js';
import { mountsShowing, parseMountinfo } from '../../src/system/mountinfo.js';
import { makeBackup } from '../support/backups.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const FIRST = '20261119T010000Z-aaaaaa';
const SECOND = '20261120T010000Z-bbbbbb';

describeNeeding(['root', 'loop', 'ext4', 'program:findmnt'], 'a mounted backup', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let disk: ThrowawayFilesystem;
  let target: string;
  let mountpoint: string;
  let count = 0;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
  });

  beforeEach(async () => {
    count += 1;
    cli = new FsbackupCli(path.join(disks.directory, `state-${count}`));
    target = path.join(disk.mountpoint, `target-${count}`);
    mountpoint = path.join(disks.directory, `mnt-${count}`);
    await mkdir(target);
    for (const backupId of [FIRST, SECOND]) await makeBackup(ref(backupId));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  function ref(backupId: string, job = 'srv'): BackupRef {
    return { target, job, backupId };
  }

  function mount(...args: string[]): ReturnType<FsbackupCli['run']> {
    return cli.run('backups', 'mount', ...args, '--from', target);
  }

  it('is shown read-only with nothing in it to work, listed, and unmounted again', async () => {
    await must('mknod', path.join(dataDirectory(ref(FIRST)), 'device'), 'c', '1', '3');
    const done = await mount(`srv@${FIRST}`, mountpoint);
    expect([done.exitCode, done.stderr]).toEqual([0, '']);
    expect(await readFile(path.join(mountpoint, 'srv', 'file'), 'utf8')).toBe('content');
    await expect(writeFile(path.join(mountpoint, 'x'), 'x')).rejects.toThrow('EROFS');
    await expect(open(path.join(mountpoint, 'device'), 'r')).rejects.toThrow('EACCES');
    const options = await must('findmnt', '--noheadings', '--output', 'VFS-OPTIONS', mountpoint);
    expect(options.split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));

    const list = await cli.run('backups', 'list', '--from', target, '--json');
    const { backups } = JSON.parse(list.stdout) as { backups: { backupId: string; mounted: string[] }[] };
    expect(backups.map(({ mounted }) => mounted)).toEqual([[mountpoint], []]);
    const text = await cli.run('backups', 'list', '--from', target);
    expect(text.stdout).toContain(`srv@${FIRST} is mounted at ${mountpoint}`);
    const status = JSON.parse((await cli.run('status', '--json')).stdout) as { mounts: unknown[] };
    expect(status.mounts).toMatchObject([
      { job: 'srv', backupId: FIRST, directory: mountpoint, kind: 'kernel' },
    ]);
    expect((await cli.run('status')).stdout).toContain(`srv@${FIRST} at ${mountpoint}`);

    const undone = await cli.run('backups', 'umount', mountpoint, '--json');
    expect(JSON.parse(undone.stdout)).toMatchObject({ backupId: FIRST, wasMounted: true });
    // Made for it.
    await expect(lstat(mountpoint)).rejects.toThrow('ENOENT');
    expect((await cli.run('status')).stdout).not.toContain('Mounted');
    const { FSBACKUP_RUN_DIR } = cli.environment;
    expect((await readdir(FSBACKUP_RUN_DIR)).filter((name) => name.startsWith('stage'))).toEqual([]);
  });

  it('is neither unmounted by recover nor removed by prune, by a symlink to the target too', async () => {
    const alias = `${target}-alias`;
    await symlink(target, alias);
    expect((await cli.run('backups', 'mount', `srv@${FIRST}`, mountpoint, '--from', alias)).exitCode).toBe(0);
    const { exitCode, value } = await cli.recover();
    expect([exitCode, value.released]).toEqual([0, []]);
    expect(await isMountedAt(mountpoint)).toBe(true);

    const prune = ['backups', 'prune', 'srv', '--from', target, '--keep-last', '1'];
    const kept = await cli.run(...prune);
    expect(kept.exitCode).toBe(0);
    expect(kept.stdout).toContain(`keep     srv@${FIRST}  it is mounted at ${mountpoint}`);
    expect(await readdir(path.join(target, 'srv'))).toEqual([FIRST, SECOND]);

    expect((await cli.run('backups', 'umount', mountpoint)).exitCode).toBe(0);
    expect((await cli.run(...prune)).stdout).toContain(`removed  srv@${FIRST}`);
    expect(await readdir(path.join(target, 'srv'))).toEqual([SECOND]);
  });

  it('cannot be unmounted while it is used: exit 60, and it stays listed', async () => {
    expect((await mount('srv', mountpoint)).exitCode).toBe(0);
    const busy = await open(path.join(mountpoint, 'srv', 'file'), 'r');
    try {
      const run = await cli.run('backups', 'umount', mountpoint);
      expect(run.exitCode).toBe(60);
      expect(run.stderr).toContain(`fsbackup backups umount ${mountpoint}`);
    } finally {
      await busy.close();
    }
    expect((await cli.run('status')).stdout).toContain(mountpoint);
    expect((await cli.run('backups', 'umount', mountpoint)).exitCode).toBe(0);
  });

  it('is not mounted where it would hide something, or over the backups themselves', async () => {
    await mkdir(mountpoint);
    await writeFile(path.join(mountpoint, 'precious'), '');
    for (const directory of [mountpoint, path.join(mountpoint, 'precious'), disk.mountpoint]) {
      const run = await mount('srv', directory);
      expect(run.exitCode).toBe(2);
    }
    const inside = await mount('srv', path.join(backupDirectory(ref(FIRST)), 'here'));
    expect(inside.exitCode).toBe(2);
    await rm(path.join(mountpoint, 'precious'));
    expect(await isMountedAt(mountpoint)).toBe(false);
    expect((await cli.run('backups', 'umount', mountpoint)).exitCode).toBe(2);
  });

  it('is unmounted by nobody who did not mount it', async () => {
    await mkdir(mountpoint);
    await must('mount', '-t', 'tmpfs', 'none', mountpoint);
    const foreign = await cli.run('backups', 'umount', mountpoint);
    expect(foreign.exitCode).toBe(2);
    expect(await isMountedAt(mountpoint)).toBe(true);
    await must('umount', mountpoint);

    expect((await mount('srv', mountpoint)).exitCode).toBe(0);
    await must('umount', mountpoint);
    expect((await cli.run('status')).stdout).not.toContain(mountpoint);
    await must('mount', '-t', 'tmpfs', 'none', mountpoint);
    expect((await cli.run('backups', 'umount', mountpoint)).exitCode).toBe(2);
    await must('umount', mountpoint);
    const late = await cli.run('backups', 'umount', mountpoint);
    expect([late.exitCode, late.stdout]).toEqual([0, expect.stringContaining('not mounted')]);
  });

  it('is refused for tar, with the way out', async () => {
    await makeBackup(ref(FIRST, 'packed'), { engine: 'tar' });
    const run = await mount('packed', mountpoint);
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toContain(`fsbackup restore packed@${FIRST} --from ${target} --to DIR`);
    await expect(lstat(mountpoint)).rejects.toThrow('ENOENT');
  });

  it('by a process is shown for as long as that serves it, whoever ends it', async () => {
    vi.stubEnv('FSBACKUP_RUN_DIR', path.join(disks.directory, `run-${count}`));
    const serving: CopyEngine = {
      ...createTarEngine(),
      name: 'tar',
      preflight: () => Promise.resolve({}),
      mounting: {
        kind: 'process',
        // As FUSE programs do: they end when they were unmounted.
        serve: async ({ directory, signal, onMounted }) => {
          await must('mount', '-t', 'tmpfs', 'none', directory);
          onMounted();
          while (!signal.aborted && (await isMountedAt(directory))) await sleep(10);
          signal.throwIfAborted();
        },
      },
    };
    const backup = await findBackup([target], `srv@${FIRST}`, () => undefined);
    const serve = (signal: AbortSignal, onMounted: () => void): Promise<void> =>
      mountBackup({ backup, engine: serving, directory: mountpoint, signal, onMounted });

    let seen = false;
    await serve(new AbortController().signal, () => {
      seen = true;
      void must('umount', mountpoint);
    });
    expect(seen).toBe(true);

    const stop = new AbortController();
    const stopped = serve(stop.signal, () => stop.abort(new Error('interrupted')));
    await expect(stopped).rejects.toThrow('interrupted');
    await expect(lstat(mountpoint)).rejects.toThrow('ENOENT');
    expect(await readMountedBackups()).toEqual([]);
  });
});

it('mounts that show a directory are found by the root they show', () => {
  const mounts = parseMountinfo(
    [
      '1 0 8:1 / / rw - ext4 /dev/a rw',
      '2 1 8:2 / /backup rw - ext4 /dev/b rw',
      '3 1 8:2 /srv/id/data /mnt ro - ext4 /dev/b rw',
      '4 1 8:2 /srv/id/data/x /mnt2 ro - ext4 /dev/b rw',
      '5 1 8:2 /srv/id/database /mnt3 ro - ext4 /dev/b rw',
      '6 1 8:1 /srv/id/data /mnt4 ro - ext4 /dev/a rw',
      '7 1 8:2 /srv /again rw - ext4 /dev/b rw',
    ].join('\n'),
  );
  const showing = (directory: string): string[] =>
    mountsShowing(mounts, directory).map(({ mountpoint }) => mountpoint);
  expect(showing('/backup/srv/id/data')).toEqual(['/mnt', '/mnt2']);
  expect(showing('/again/id/data')).toEqual(['/mnt', '/mnt2']);
  expect(showing('/srv/id/data')).toEqual(['/mnt4']);
});
