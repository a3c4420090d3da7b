import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { frozenWindowOf } from '../../scripts/demo-lib/timeline.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { startLogWriter } from '../support/log-writer.js';
import { checkRecords, parseRecords } from '../support/records.js';
import { ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';
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
