import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import type { EngineName } from '../../src/engine-names.js';
import { describeNeeding } from '../support/capabilities.js';
import { writeRandom } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'btrfs',
  'xfs',
  'ext4',
  'program:btrfs',
  'program:zstd',
  'program:tar',
] as const;

describeNeeding([...NEEDS, 'program:xfs_io'], 'a target that fails', () => {
  const disks = throwawayDisks(afterAll);

  interface Target {
    path: string;
    engine: EngineName;
    mustBeMountpoint?: boolean;
  }

  /** A filesystem whose snapshots this engine can send. */
  async function sourceFor(engine: EngineName, name: string): Promise<ThrowawayFilesystem> {
    if (engine !== 'image') return await disks.filesystem({ fstype: 'btrfs', name: `${name}-origin` });
    const on = await disks.filesystem({ fstype: 'xfs', sizeMiB: 768, name: `${name}-outer` });
    return await disks.filesystem({ fstype: 'ext4', sizeMiB: 256, on, name: `${name}-origin` });
  }

  async function job(name: string, source: ThrowawayFilesystem, targets: readonly Target[]) {
    const directory = path.join(disks.directory, name);
    await mkdir(directory, { recursive: true });
    const file = path.join(directory, 'config.yaml');
    const jobs = { srv: { sources: [source.mountpoint], targets } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const cli = new FsbackupCli(directory);
    return { cli, file, run: () => cli.runJob('srv', '--config', file) };
  }

  /** A job of three targets, the second one small, with the engine in question. */
  async function mixedJob(name: string, source: ThrowawayFilesystem, engine: EngineName) {
    const small = await disks.filesystem({ fstype: 'ext4', sizeMiB: 64, name: `${name}-small` });
    const [first, third] = ['first', 'third'].map((one) => path.join(disks.directory, name, one));
    const targets: Target[] = [
      { path: first ?? '', engine: 'rsync' },
      { path: small.mountpoint, engine, mustBeMountpoint: true },
      { path: third ?? '', engine: 'tar' },
    ];
    for (const target of targets) await mkdir(target.path, { recursive: true });
    return { ...(await job(name, source, targets)), small, targets };
  }

  /** How many backups each target has that are complete, and how many that are not. */
  async function counts(targets: readonly Pick<Target, 'path'>[]): Promise<string[]> {
    const listed = await Promise.all(targets.map((target) => listBackups(target.path)));
    return listed.map((backups) => {
      const complete = backups.filter(({ state }) => state === 'complete').length;
      return `${complete} and ${backups.length - complete}`;
    });
  }

  it.each(['btrfs-send', 'image'] as const)(
    'for want of room, by %s, is named, keeps the others from nothing, and has its backup the next time',
    async (engine) => {
      const source = await sourceFor(engine, engine);
      const { cli, small, targets, run } = await mixedJob(engine, source, engine);
      await writeRandom(path.join(source.mountpoint, 'large'), 24);
      const filler = path.join(small.mountpoint, 'filler');
      await writeRandom(filler, 40);
      const failed = await run();
      expect(failed.exitCode, failed.stderr).toBe(40);
      expect(failed.value.copies.map((copy) => copy.engine)).toEqual(['rsync', 'tar']);
      expect(failed.value.failedCopies).toMatchObject([
        { target: small.mountpoint, engine, error: { code: 'copyFailed', exitCode: 40 } },
      ]);
      expect(failed.value.failedCopies?.[0]?.error.message).toMatch(/No space left/);
      expect(await counts(targets)).toEqual(['1 and 0', '0 and 0', '1 and 0']);
      expect(await cli.journalEntries()).toEqual([]);

      await rm(filler);
      const whole = await run();
      expect(whole.exitCode, whole.stderr).toBe(0);
      expect(whole.value.failedCopies).toBeUndefined();
      expect(await counts(targets)).toEqual(['2 and 0', '1 and 0', '2 and 0']);
    },
  );

  it('since its disk is not there keeps the others from nothing', async () => {
    const source = await sourceFor('btrfs-send', 'apart');
    const { cli, small, targets, run } = await mixedJob('apart', source, 'btrfs-send');
    await must('umount', small.mountpoint);
    const { exitCode, value, stderr } = await run();
    expect(exitCode, stderr).toBe(2);
    expect(value.copies.map((copy) => copy.engine)).toEqual(['rsync', 'tar']);
    expect(value.failedCopies).toMatchObject([{ target: small.mountpoint, error: { code: 'usage' } }]);
    expect(value.error?.message).toContain('nothing is mounted there');
    expect(await counts(targets)).toEqual(['1 and 0', '0 and 0', '1 and 0']);
    expect(await readdir(small.mountpoint)).toEqual([]);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it.each(['rsync', 'tar', 'btrfs-send', 'image'] as const)(
    'since it vanishes in the middle, by %s, has nothing that passes for a backup, and has one the next time',
    async (engine) => {
      const name = `vanishes-${engine}`;
      const source = await sourceFor(engine, name);
      await writeRandom(path.join(source.mountpoint, 'large'), 96);
      const target = await disks.filesystem({ fstype: 'xfs', name: `${name}-target` });
      const targets = [{ path: target.mountpoint, engine }];
      const { cli, file, run } = await job(name, source, targets);
      const started = cli.start('run', 'srv', '--config', file, '--json');
      await cli.journalled('backup', started);
      // All that is asked of it from then on is answered by EIO, as of a disk that was pulled out.
      await must('xfs_io', '-x', '-c', 'shutdown', target.mountpoint);
      expect(await started.ended(), started.output).toBe(40);
      expect(started.output).toContain('"code": "copyFailed"');
      await must('umount', target.mountpoint);
      await must('mount', target.device, target.mountpoint);
      expect((await counts(targets))[0]).toMatch(/^0 and /);
      const again = await run();
      expect(again.exitCode, again.stderr).toBe(0);
      expect(await counts(targets)).toEqual(['1 and 0']);
      expect(await cli.journalEntries()).toEqual([]);
    },
  );
});
