import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { listBackups } from '../../src/copy/backup-list.js';
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

describeNeeding(NEEDS, 'a job with targets of several engines', () => {
  const disks = throwawayDisks(afterAll);

  /** A job of three targets, the second one with the engine in question. */
  async function job(name: string, source: ThrowawayFilesystem, engine: EngineName) {
    const directory = path.join(disks.directory, name);
    const small = await disks.filesystem({ fstype: 'ext4', sizeMiB: 64, name: `${name}-small` });
    const [first, second, third] = [
      path.join(directory, 'first'),
      small.mountpoint,
      path.join(directory, 'third'),
    ];
    for (const made of [first, third]) await mkdir(made, { recursive: true });
    const targets = [
      { path: first, engine: 'rsync' },
      { path: second, engine, mustBeMountpoint: true },
      { path: third, engine: 'tar' },
    ];
    const file = path.join(directory, 'config.yaml');
    const jobs = { srv: { sources: [source.mountpoint], targets } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const cli = new FsbackupCli(directory);
    return { cli, small, targets, run: () => cli.runJob('srv', '--config', file) };
  }

  /** How many complete backups each target has, and how many that are not. */
  async function counts(targets: readonly { path: string }[]): Promise<string[]> {
    const listed = await Promise.all(targets.map((target) => listBackups(target.path)));
    return listed.map((backups) => {
      const complete = backups.filter(({ state }) => state === 'complete').length;
      return `${complete} and ${backups.length - complete}`;
    });
  }

  it.each(['btrfs-send', 'image'] as const)(
    'makes the backups of the others when that by %s finds no room, says which failed, and makes it up',
    async (engine) => {
      const on = await disks.filesystem({ fstype: 'xfs', name: `outer-${engine}` });
      const source =
        engine === 'image'
          ? await disks.filesystem({ fstype: 'ext4', on, name: 'in-a-file' })
          : await disks.filesystem({ fstype: 'btrfs', name: 'origin' });
      const { cli, small, targets, run } = await job(engine, source, engine);
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

  it('makes the backups of the others when a disk is not there', async () => {
    const source = await disks.filesystem({ fstype: 'btrfs', name: 'apart' });
    const { cli, small, targets, run } = await job('apart', source, 'btrfs-send');
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
});
