import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { frozenWindowOf } from '../../scripts/demo-lib/timeline.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import { startLogWriter } from '../support/log-writer.js';
import { checkRecords, parseRecords } from '../support/records.js';
import { must, ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';
import { describeTree, differencesOf } from '../support/tree.js';

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

/** Nothing of ours is mounted, attached, journalled, or on the storage. */
async function expectNothingLeft(storage: ThrowawayFilesystem): Promise<void> {
  expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  expect(await cli.journalEntries()).toEqual([]);
  expect(await readdir(storage.mountpoint)).not.toContain('.fsbackup-snapshots');
}

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:rsync', 'program:zstd'],
  'a run on a live filesystem',
  () => {
    it.each(['ext4', 'xfs'] as const)(
      '%s: holds every record acknowledged before the freeze and none begun after the thaw',
      async (fstype) => {
        const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
        const inner = await disks.filesystem({
          fstype,
          on: outer,
          ...(fstype === 'xfs' ? { sizeMiB: 320 } : {}),
        });
        await mkdir(path.join(inner.mountpoint, 'still'));
        await writeFile(path.join(inner.mountpoint, 'still/file'), 'x'.repeat(100_000));
        const still = await describeTree(path.join(inner.mountpoint, 'still'));

        const writer = startLogWriter(path.join(inner.mountpoint, 'records'));
        let run;
        try {
          await writer.acknowledged(100);
          run = await cli.runJob('--job', 'live', '--source', inner.mountpoint, '--to', target);
          await writer.acknowledged(writer.acknowledgements.length + 50);
        } finally {
          await writer.stop();
        }
        const report = run.value;
        // 3 where this host weakens the dead-man's guarantee.
        expect(run.exitCode, run.stderr).toBe(0);
        expect(report).toMatchObject({
          consistency: 'filesystem',
          sources: [{ fstype, provider: 'reflink', freezeMode: 'explicit', attempts: 1 }],
          copies: [{ target, engine: 'rsync' }],
        });
        expect(report.sources[0]?.frozenMs).toBeGreaterThan(0);

        const restored = path.join(disks.directory, 'restored');
        const restore = await cli.run('restore', 'live', '--from', target, '--to', restored);
        expect(restore.exitCode).toBe(0);
        const window = frozenWindowOf(report.startedAt, report.steps);
        if (window === undefined) throw new Error('the report shows no frozen window');
        const text = await readFile(path.join(restored, inner.mountpoint, 'records'), 'utf8');
        expect(checkRecords(text, writer.acknowledgements, window)).toEqual([]);
        // The window lies in the middle of the writing: a copy of the live tree would hold later records.
        expect(parseRecords(text).records.length).toBeGreaterThanOrEqual(100);
        expect(parseRecords(text).records.length).toBeLessThan(writer.acknowledgements.length);
        const actual = await describeTree(path.join(restored, inner.mountpoint, 'still'));
        expect(differencesOf(still, actual)).toEqual([]);
        await expectNothingLeft(outer);
      },
    );

    it('copies to several targets by several engines, and a second time beside the first backup', async () => {
      const outer = await disks.filesystem({ fstype: 'xfs' });
      const inner = await disks.filesystem({ fstype: 'ext4', on: outer });
      await mkdir(path.join(inner.mountpoint, 'below/deep'), { recursive: true });
      await writeFile(path.join(inner.mountpoint, 'below/deep/file'), 'kept');
      await writeFile(path.join(inner.mountpoint, 'below/deep/file.tmp'), 'left out');
      const archive = path.join(disks.directory, 'archive');
      await mkdir(archive);
      const config = path.join(disks.directory, 'config.yaml');
      await writeFile(
        config,
        [
          'version: 1',
          'jobs:',
          '  below:',
          '    sources:',
          `      - path: ${path.join(inner.mountpoint, 'below')}`,
          '        exclude: ["*.tmp"]',
          '    targets:',
          `      - { path: ${target}, engine: rsync }`,
          `      - { path: ${archive}, engine: tar }`,
          '',
        ].join('\n'),
        { mode: 0o600 },
      );
      for (let round = 0; round < 2; round += 1) {
        const { value, stderr } = await cli.runJob('below', '--config', config);
        expect(value.copies, stderr).toMatchObject([
          { target, engine: 'rsync', files: 1 },
          { target: archive, engine: 'tar', files: 1 },
        ]);
      }
      for (const from of [target, archive]) {
        const restored = path.join(disks.directory, `restored-${path.basename(from)}`);
        expect(await cli.run('restore', 'below', '--from', from, '--to', restored)).toMatchObject({
          exitCode: 0,
        });
        expect(await readdir(path.join(restored, inner.mountpoint, 'below/deep'))).toEqual(['file']);
      }
      await expectNothingLeft(outer);
    });
  },
);

/** Waits for the writer to get on by 200 records, then shows the live tree in place of a snapshot of it. */
const EXPOSE_LATE = [
  'begun=$(stat -c %s "$1/records")',
  'while [ "$(stat -c %s "$1/records")" -lt $((begun + 200000)) ]; do sleep 0.05; done',
  'exec mount --bind "$1" "$2"',
].join('\n');

describeNeeding(['root', 'loop', 'ext4', 'program:rsync'], 'a run that copies the live mount', () => {
  it('is found out: records begun after the thaw are in the copy', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const config = path.join(disks.directory, 'config.yaml');
    const commands = {
      create: ['true'],
      expose: ['sh', '-c', EXPOSE_LATE, 'sh', '{mountpoint}', '{directory}'],
      remove: ['true'],
    };
    const mutant = { path: disk.mountpoint, snapshot: 'command', freezeMode: 'explicit', commands };
    const jobs = { live: { sources: [mutant], targets: [target] } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const writer = startLogWriter(path.join(disk.mountpoint, 'records'));
    let run;
    try {
      await writer.acknowledged(100);
      run = await cli.runJob('live', '--config', config);
    } finally {
      await writer.stop();
    }
    // The run itself cannot tell: its freeze held, and the storage said that it took a snapshot.
    expect(run.value, run.stderr).toMatchObject({ consistency: 'filesystem', copies: [{ engine: 'rsync' }] });
    const window = frozenWindowOf(run.value.startedAt, run.value.steps);
    if (window === undefined) throw new Error('the report shows no frozen window');
    const restored = path.join(disks.directory, 'restored');
    const restore = await cli.run('restore', 'live', '--from', target, '--to', restored);
    expect(restore.exitCode, restore.stderr).toBe(0);
    const text = await readFile(path.join(restored, disk.mountpoint, 'records'), 'utf8');
    const complaints = checkRecords(text, writer.acknowledgements, window);
    const late = complaints.filter((line) => line.endsWith('was begun after the thaw and is there'));
    expect(late.length).toBeGreaterThan(50);
  });
});

const NEEDS_RECOVERY = /^Filesystem features:.*\bneeds_recovery\b/m;

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:rsync', 'program:e2fsck', 'program:dumpe2fs'],
  'the snapshot that a run copies from',
  () => {
    it('of an ext4 that is written to needs no recovery and passes e2fsck, while the copy goes on', async () => {
      const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
      const inner = await disks.filesystem({ fstype: 'ext4', sizeMiB: 40_960, on: outer });
      const big = path.join(inner.mountpoint, 'big');
      await writeFile(big, 'x');
      // All hole: long to read, and nothing on the disk.
      await truncate(big, 32 * 1024 ** 3);
      const writer = startLogWriter(path.join(inner.mountpoint, 'records'));
      let started: StartedCli | undefined;
      try {
        await writer.acknowledged(100);
        started = cli.start('run', '--job', 'live', '--source', inner.mountpoint, '--to', target);
        await cli.journalled('backup', started);
        const snapshots = path.join(outer.mountpoint, '.fsbackup-snapshots');
        const [clone = '', ...others] = await readdir(snapshots);
        expect(others).toEqual([]);
        const image = path.join(snapshots, clone);
        // The live one is mounted and does need it: the features tell the two apart.
        expect(await must('dumpe2fs', '-h', inner.image)).toMatch(NEEDS_RECOVERY);
        expect(await must('dumpe2fs', '-h', image)).not.toMatch(NEEDS_RECOVERY);
        await must('e2fsck', '-fn', image);
        expect(started.hasEnded, started.output).toBe(false);
      } finally {
        started?.kill('SIGTERM');
        await started?.ended();
        await writer.stop();
      }
      await expectNothingLeft(outer);
    });
  },
);
