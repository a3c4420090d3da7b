import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RunReport } from '../../src/report/run-report.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();
let cli: FsbackupCli;
let target: string;

beforeEach(async () => {
  cli = new FsbackupCli(disks.directory);
  target = path.join(disks.directory, 'backups');
  await mkdir(target);
});

afterEach(async () => {
  await disks.dispose();
});

async function put(directory: string, text: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(path.join(directory, 'file'), text);
}

/** A btrfs with a nested subvolume and an ext4 in an image mounted below. */
async function aNestedTree(): Promise<{ btrfs: ThrowawayFilesystem; submount: string }> {
  const storage = await disks.filesystem({ fstype: 'xfs' });
  const ext4 = await disks.filesystem({ fstype: 'ext4', on: storage });
  const btrfs = await disks.filesystem({ fstype: 'btrfs' });
  const submount = path.join(btrfs.mountpoint, 'submount');
  await must('btrfs', 'subvolume', 'create', path.join(btrfs.mountpoint, 'nested'));
  await mkdir(submount);
  await must('mount', '--bind', ext4.mountpoint, submount);
  await put(path.join(btrfs.mountpoint, 'plain'), 'plain');
  await put(path.join(btrfs.mountpoint, 'nested'), 'nested');
  await put(submount, 'submount');
  return { btrfs, submount };
}

async function restoredFiles(name: string, source: string): Promise<string[]> {
  const restored = path.join(disks.directory, 'restored');
  expect(await cli.run('restore', name, '--from', target, '--to', restored)).toMatchObject({ exitCode: 0 });
  const files = await readdir(path.join(restored, source), { recursive: true });
  return files.filter((file) => path.basename(file) === 'file').toSorted();
}

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync'], 'what lies below a source', () => {
  it('is named in plan, report and manifest, and exits 3, when it is not backed up', async () => {
    const { btrfs, submount } = await aNestedTree();
    const args = ['--job', 'plain', '--source', btrfs.mountpoint, '--to', target];
    const named = [
      expect.stringContaining(`the subvolume ${path.join(btrfs.mountpoint, 'nested')}`),
      expect.stringContaining(`${submount} (ext4 mounted there)`),
    ];
    const plan = await cli.plan(...args);
    expect(plan).toMatchObject({ exitCode: 0, value: { warnings: named } });

    const run = await cli.runJob(...args);
    expect(run.exitCode).toBe(3);
    expect(run.value.warnings).toEqual(expect.arrayContaining(named));
    expect(run.value.sources).toMatchObject([
      { fstype: 'btrfs', provider: 'btrfs', freezeMode: 'atomic', frozenMs: null, consistency: 'crash' },
    ]);
    const manifest = path.join(target, 'plain', run.value.runId, 'manifest.json');
    expect(JSON.parse(await readFile(manifest, 'utf8'))).toMatchObject({
      report: { warnings: expect.arrayContaining(named) as unknown[] },
    });
    expect(await restoredFiles('plain', btrfs.mountpoint)).toEqual(['plain/file']);
    expect(await readdir(btrfs.mountpoint)).not.toContain('.fsbackup-snapshots');
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('is backed up with --recursive, each filesystem in its own mode', async () => {
    const { btrfs, submount } = await aNestedTree();
    const run = await cli.runJob('--job', 'all', '--source', btrfs.mountpoint, '--to', target, '--recursive');
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.value.warnings.filter((warning) => warning.includes('not in the backup'))).toEqual([]);
    expect(run.value.sources).toMatchObject([
      { mountpoint: btrfs.mountpoint, provider: 'btrfs', freezeMode: 'atomic' },
      { mountpoint: path.join(btrfs.mountpoint, 'nested'), provider: 'btrfs', freezeMode: 'atomic' },
      { mountpoint: submount, provider: 'reflink', freezeMode: 'explicit' },
    ]);
    expect(await restoredFiles('all', btrfs.mountpoint)).toEqual([
      'nested/file',
      'plain/file',
      'submount/file',
    ]);
    expect((await disks.leftovers()).loopDevices).toEqual([]);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('is named where fstab has a filesystem, and exits 3, when that is not mounted', async () => {
    const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
    const link = path.join(disks.directory, 'link');
    await mkdir(path.join(mountpoint, 'absent'));
    await symlink(mountpoint, link);
    const fstab = path.join(disks.directory, 'fstab');
    await writeFile(
      fstab,
      [`/dev/a ${link}/absent ext4 nofail 0 0`, `/dev/b ${mountpoint}/away ext4 noauto 0 0`, ''].join('\n'),
    );
    const inNamespace = [
      'unshare',
      '--mount',
      'sh',
      '-ec',
      `mount --bind ${fstab} /etc/fstab; exec "$@"`,
      'sh',
    ];
    const run = async (job: string, ...more: string[]): Promise<RunReport> => {
      const args = ['run', '--json', '--job', job, '--source', mountpoint, '--to', target, ...more];
      const { stdout } = await cli.runUnder(inNamespace, ...args);
      return JSON.parse(stdout) as RunReport;
    };
    const missing = `${mountpoint}/absent below ${mountpoint} is not in the backup: /etc/fstab has a filesystem for it, which is not mounted`;
    expect(await run('all', '--recursive')).toMatchObject({ exitCode: 3, warnings: [missing] });
    expect(await run('less', '--recursive', '--exclude', '/absent')).toMatchObject({
      exitCode: 0,
      warnings: [],
    });
    const { warnings } = await run('plain');
    expect(warnings).not.toContain(missing);
  });

  it('is refused when the source itself was a filesystem of its own, and is not mounted now', async () => {
    const outer = await disks.filesystem({ fstype: 'btrfs' });
    const disk = await disks.filesystem({ fstype: 'btrfs' });
    const data = path.join(outer.mountpoint, 'data');
    await put(disk.mountpoint, 'precious');
    await mkdir(data);
    await must('mount', '--bind', disk.mountpoint, data);
    const args = ['--job', 'data', '--source', data, '--to', target];
    expect(await cli.runJob(...args)).toMatchObject({ exitCode: 0 });
    expect(await cli.runJob(...args)).toMatchObject({ exitCode: 0 });
    await must('umount', data);
    const made = await readdir(path.join(target, 'data'));
    const error = { code: 'usage', message: expect.stringContaining(`${data} is not mounted`) as string };
    expect(await cli.runJob(...args)).toMatchObject({ exitCode: 2, value: { error } });
    expect(await cli.run('plan', ...args)).toMatchObject({ exitCode: 2 });
    expect(await readdir(path.join(target, 'data'))).toEqual(made);
    await must('mount', '--bind', disk.mountpoint, data);
    expect(await cli.runJob(...args)).toMatchObject({ exitCode: 0 });
  });

  it('is no matter when it is excluded', async () => {
    const { btrfs } = await aNestedTree();
    const args = ['--job', 'less', '--source', btrfs.mountpoint, '--to', target];
    const run = await cli.runJob(...args, '--exclude', '/nested', '--exclude', '/submount/');
    expect(run).toMatchObject({ exitCode: 0, value: { warnings: [], outcome: 'success' } });
    expect(await restoredFiles('less', btrfs.mountpoint)).toEqual(['plain/file']);
  });
});

describeNeeding(
  ['root', 'loop', 'btrfs', 'program:rsync'],
  'what changes below a source after the plan',
  () => {
    /** A run during which, when its application is stopped, a command of ours acts. */
    async function runWhile(source: Readonly<Record<string, unknown>>, ...command: string[]) {
      const quiesce = [{ name: 'application', before: command, after: ['true'] }];
      const jobs = { source: { sources: [source], targets: [target], quiesce } };
      const config = path.join(disks.directory, 'config.yaml');
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      return await cli.runJob('source', '--config', config);
    }

    it('is told: a subvolume that was made meanwhile is an empty directory', async () => {
      const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
      await put(mountpoint, 'plain');
      const made = path.join(mountpoint, 'made');
      const run = await runWhile({ path: mountpoint, recursive: true }, 'btrfs', 'subvolume', 'create', made);
      expect(run.exitCode, run.stderr).toBe(3);
      expect(run.value.warnings).toEqual([
        `the subvolume ${made} is not in the backup: it was not there yet when the run began`,
      ]);
      expect(await runWhile({ path: mountpoint, recursive: true }, 'true')).toMatchObject({ exitCode: 0 });
    });

    it('makes no backup of a source that is read live, and was unmounted', async () => {
      const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
      await put(mountpoint, 'plain');
      const run = await runWhile({ path: mountpoint, snapshot: 'none' }, 'umount', mountpoint);
      expect(run).toMatchObject({ exitCode: 31, value: { error: { code: 'snapshotInvalid' }, copies: [] } });
      expect(await readdir(target)).toEqual([]);
    });
  },
);

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync'], 'a stack of filesystems', () => {
  it('is frozen in two windows, since the snapshot of the upper writes to the lower, and says so', async () => {
    const ground = await disks.filesystem({ fstype: 'btrfs', sizeMiB: 2048 });
    const lower = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024, on: ground });
    const upper = await disks.filesystem({ fstype: 'ext4', on: lower });
    await put(lower.mountpoint, 'lower');
    await put(upper.mountpoint, 'upper');
    const sources = [lower, upper].flatMap(({ mountpoint }) => ['--source', mountpoint]);
    const run = await cli.runJob('--job', 'both', ...sources, '--to', target, '--exclude', '*.img');
    expect(run.exitCode).toBe(3);
    expect(run.value.warnings).toEqual(
      expect.arrayContaining([expect.stringContaining(`${upper.mountpoint}, then ${lower.mountpoint}`)]),
    );
    expect(run.value.sources).toMatchObject([
      { mountpoint: lower.mountpoint, freezeMode: 'explicit', attempts: 1, consistency: 'filesystem' },
      { mountpoint: upper.mountpoint, freezeMode: 'explicit', attempts: 1, consistency: 'filesystem' },
    ]);
    expect(run.value.steps.filter(({ step }) => step === 'freeze')).toHaveLength(2);
    expect(await restoredFiles('both', upper.mountpoint)).toEqual(['file']);
    expect((await disks.leftovers()).loopDevices).toEqual([]);
  });
});
