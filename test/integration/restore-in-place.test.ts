import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { RestoreReport } from '../../src/copy/restore/restore-backup.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'ext4',
  'program:rsync',
  'program:zstd',
  'program:unshare',
  'program:script',
] as const;

describeNeeding(NEEDS, 'fsbackup restore', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let disk: ThrowawayFilesystem;
  let source: string;
  let count = 0;

  beforeAll(async () => {
    cli = new FsbackupCli(disks.directory);
    disk = await disks.filesystem({ fstype: 'ext4' });
  });

  beforeEach(async () => {
    count += 1;
    source = path.join(disk.mountpoint, `srv-${count}`);
    await mkdir(path.join(source, 'www'), { recursive: true });
    await writeFile(path.join(source, 'www', 'page.html'), 'page');
    await writeFile(path.join(source, 'www', 'other.html'), 'other');
    await writeFile(path.join(source, 'a.conf'), 'conf');
    await must('bash', '-c', `printf raw > "$1"/www/$'\\xff.html'`, 'bash', source);
    await must('ln', path.join(source, 'a.conf'), path.join(source, 'www', 'linked.conf'));
    await must('chown', '-R', '1234:1234', source);
    await utimes(source, 0, 1_000_000_000);
  });

  async function backUp(engine: string): Promise<string[]> {
    const target = path.join(disks.directory, `target-${count}-${engine}`);
    await mkdir(target);
    const job = [
      '--job',
      'srv',
      '--source',
      source,
      '--to',
      target,
      '--engine',
      engine,
      '--snapshot',
      'none',
    ];
    expect((await cli.runJob(...job)).value.error).toBeUndefined();
    return ['restore', 'srv', '--from', target];
  }

  async function restore(...args: string[]): Promise<{ exitCode: unknown; report: RestoreReport }> {
    const { exitCode, stdout, stderr } = await cli.run(...args, '--json');
    expect(stderr).toBe('');
    return { exitCode, report: JSON.parse(stdout) as RestoreReport };
  }

  const at = (...names: string[]): string => path.join(source, ...names);

  it.each(['rsync', 'tar'])(
    '%s: brings back what patterns match, names that are no UTF-8 too',
    async (engine) => {
      const args = await backUp(engine);
      const to = path.join(disks.directory, `out-${count}`);
      const { exitCode, report } = await restore(...args, '--to', to, `${source}/**/*.html`);
      expect(exitCode).toBe(0);
      expect(report).toMatchObject({ matched: 3, files: 3, inPlace: false, notRestored: [] });
      const names = await readdir(path.join(to, at('www')), 'latin1');
      expect(names.toSorted()).toEqual(['other.html', 'page.html', '\u00ff.html']);
      expect(await readdir(path.join(to, source))).toEqual(['www']);

      const nothing = await cli.run(...args, '--to', path.join(to, 'none'), '*.php');
      expect(nothing.exitCode).toBe(2);
      expect(nothing.stderr).toContain('nothing in the backup matches *.php');
      await expect(lstat(path.join(to, 'none'))).rejects.toThrow('ENOENT');
    },
  );

  it.each(['rsync', 'tar'])('%s: restores in place, overwrites and deletes nothing', async (engine) => {
    const args = await backUp(engine);
    await writeFile(at('www', 'page.html'), 'defaced');
    await chmod(at('www', 'page.html'), 0o666);
    await rm(at('www', 'other.html'));
    await writeFile(at('www', 'new.html'), 'new');
    await chmod(source, 0o711);
    const before = await lstat(source);

    const { exitCode, report } = await restore(...args, '--in-place', '--force', at('www'));
    expect(exitCode).toBe(0);
    expect(report).toMatchObject({ inPlace: true, destination: '/', outcome: 'success' });
    expect(await readFile(at('www', 'page.html'), 'utf8')).toBe('page');
    expect((await lstat(at('www', 'page.html'))).mode & 0o7777).toBe(0o644);
    expect(await readFile(at('www', 'other.html'), 'utf8')).toBe('other');
    expect(await readFile(at('www', 'new.html'), 'utf8')).toBe('new');
    // The directory above was not asked for.
    expect((await lstat(source)).mode).toBe(before.mode);
    // A name outside of what was asked for has the content of the link inside.
    expect(await readFile(at('www', 'linked.conf'), 'utf8')).toBe('conf');
    expect((await readdir(source)).toSorted()).toEqual(['a.conf', 'www']);
  });

  it.each(['rsync', 'tar'])('%s: makes directories above again as they were', async (engine) => {
    const args = await backUp(engine);
    await rm(source, { recursive: true });
    expect((await restore(...args, '--in-place', '--force', at('www', 'page.html'))).exitCode).toBe(0);
    expect(await readdir(at('www'))).toEqual(['page.html']);
    const facts = await lstat(source);
    expect([facts.uid, facts.mtimeMs]).toEqual([1234, 1_000_000_000_000]);
  });

  it.each(['rsync', 'tar'])('%s: writes through no symlink that stands in the way', async (engine) => {
    const args = await backUp(engine);
    const elsewhere = path.join(disk.mountpoint, `elsewhere-${count}`);
    await mkdir(elsewhere);
    await writeFile(path.join(elsewhere, 'page.html'), 'not ours');
    await rm(at('www'), { recursive: true });
    await symlink(elsewhere, at('www'));
    const below = await cli.run(...args, '--in-place', '--force', at('www', 'page.html'));
    expect(below.exitCode).toBe(2);
    expect(below.stderr).toContain(`${at('www')} is a symlink`);

    const { report } = await restore(...args, '--in-place', '--force');
    expect(report.inPlace).toBe(true);
    expect(await readdir(elsewhere)).toEqual(['page.html']);
    expect(await readFile(path.join(elsewhere, 'page.html'), 'utf8')).toBe('not ours');
    expect((await lstat(at('www'))).isDirectory()).toBe(true);
    expect(await readFile(at('www', 'page.html'), 'utf8')).toBe('page');

    await rename(source, `${source}-moved`);
    await symlink(`${source}-moved`, source);
    const moved = await cli.run(...args, '--in-place', '--force');
    expect(moved.exitCode).toBe(2);
    // Whether it was one then, too, nobody knows.
    expect(moved.stderr).toContain(`${source} is a symlink, and a restore in place goes through none`);
    expect(await readlink(source)).toBe(`${source}-moved`);
  });

  it('asks on a terminal, says what it would overwrite, and takes only yes', async () => {
    const args = await backUp('rsync');
    await writeFile(at('a.conf'), 'edited');
    const noTerminal = await cli.run(...args, '--in-place');
    expect(noTerminal.exitCode).toBe(2);
    expect(noTerminal.stderr).toContain('no terminal to ask on');
    // timeout(1) runs it in the background of the terminal, where whoever reads is stopped for good.
    const behind = await cli.onTerminalUnder(
      ['timeout', '250'],
      'yes\n',
      ...args,
      '--in-place',
      at('a.conf'),
    );
    expect(behind.exitCode).toBe(2);
    expect(behind.stdout).toContain('no terminal to ask on');

    for (const [answer, exitCode, content] of [
      ['no', 1, 'edited'],
      ['yes', 0, 'conf'],
    ] as const) {
      const run = await cli.onTerminal(`${answer}\n`, ...args, '--in-place', at('a.conf'), at('www'));
      expect(run.exitCode).toBe(exitCode);
      expect(run.stdout).toContain('5 of them are there now, and are overwritten where they differ');
      expect(run.stdout).toContain(at('www', 'page.html'));
      expect(await readFile(at('a.conf'), 'utf8')).toBe(content);
    }
  });

  it('refuses what is read-only, frozen, or not mounted any more', async () => {
    const args = await backUp('rsync');
    await must('mount', '-o', 'remount,ro', disk.mountpoint);
    const readOnly = await cli.run(...args, '--in-place', '--force');
    await must('mount', '-o', 'remount,rw', disk.mountpoint);
    expect(readOnly.exitCode).toBe(2);
    expect(readOnly.stderr).toContain('Read-only file system');

    await must('fsfreeze', '--freeze', disk.mountpoint);
    let frozen;
    try {
      frozen = await cli.run(...args, '--in-place', '--force');
    } finally {
      await must('fsfreeze', '--unfreeze', disk.mountpoint);
    }
    expect(frozen.exitCode).toBe(20);
    expect(frozen.stderr).toContain('frozen');

    await must('umount', disk.mountpoint);
    const unmounted = await cli.run(...args, '--in-place', '--force');
    expect(await readdir(disk.mountpoint)).toEqual([]);
    await must('mount', disk.device, disk.mountpoint);
    expect(unmounted.exitCode).toBe(2);
    expect(unmounted.stderr).toContain(`${disk.mountpoint} is not mounted`);
  });
});

describeNeeding([...NEEDS, 'btrfs', 'program:btrfs'], 'fsbackup restore --in-place of a btrfs', () => {
  const disks = throwawayDisks(afterAll);

  it('refuses what is not mounted any more, of a subvolume below the mountpoint too', async () => {
    const cli = new FsbackupCli(disks.directory);
    const disk = await disks.filesystem({ fstype: 'btrfs' });
    const subvolume = path.join(disk.mountpoint, 'nested');
    await must('btrfs', 'subvolume', 'create', subvolume);
    const target = path.join(disks.directory, 'target');
    await mkdir(target);
    for (const [job, source] of [
      ['whole', disk.mountpoint],
      ['nested', subvolume],
    ] as const) {
      await writeFile(path.join(source, 'file'), 'content');
      const flags = ['--job', job, '--source', source, '--to', target, '--engine', 'rsync'];
      const { exitCode, stderr } = await cli.runJob(...flags);
      expect([0, 3], stderr).toContain(exitCode);
      await rm(path.join(source, 'file'));
    }
    const restore = (job: string): ReturnType<FsbackupCli['run']> =>
      cli.run('restore', job, '--from', target, '--in-place', '--force');
    await must('umount', disk.mountpoint);
    const refused = [await restore('whole'), await restore('nested')];
    expect(await readdir(disk.mountpoint)).toEqual([]);
    await must('mount', disk.device, disk.mountpoint);
    for (const { exitCode, stderr } of refused) {
      expect([exitCode, stderr]).toEqual([2, expect.stringContaining(`${disk.mountpoint} is not mounted`)]);
    }
    for (const job of ['whole', 'nested']) {
      const { exitCode, stderr } = await restore(job);
      expect(exitCode, stderr).toBe(0);
    }
    expect(await readFile(path.join(disk.mountpoint, 'file'), 'utf8')).toBe('content');
    expect(await readFile(path.join(subvolume, 'file'), 'utf8')).toBe('content');
  });
});
