import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();
let cli: FsbackupCli;
let target: string;
let log: string;

beforeEach(async () => {
  cli = new FsbackupCli(disks.directory);
  target = path.join(disks.directory, 'backups');
  log = path.join(disks.directory, 'log');
  await mkdir(target);
  await writeFile(log, '');
});

afterEach(async () => {
  await disks.dispose();
});

function says(word: string): string[] {
  return ['sh', '-c', `echo ${word} >> ${log}`];
}

/** An application that notes when it is stopped, and when it goes on. */
function application(name: string) {
  return { name, before: says(`${name}-stops`), after: says(`${name}-goes-on`) };
}

/** Somebody else's freeze, that comes after all was looked at and goes when the applications do. */
function freezer(mountpoint: string) {
  return {
    name: 'freezer',
    before: ['fsfreeze', '--freeze', mountpoint],
    after: ['fsfreeze', '--unfreeze', mountpoint],
  };
}

async function run(job: object) {
  const file = path.join(disks.directory, 'config.yaml');
  await writeFile(file, stringify({ version: 1, jobs: { db: job } }), { mode: 0o600 });
  const answer = await cli.runJob('db', '--config', file);
  return { ...answer, log: (await readFile(log, 'utf8')).trim().split('\n').join(' ') };
}

async function whileFrozen<T>({ mountpoint }: ThrowawayFilesystem, work: () => Promise<T>): Promise<T> {
  await must('fsfreeze', '--freeze', mountpoint);
  try {
    return await work();
  } finally {
    await must('fsfreeze', '--unfreeze', mountpoint);
  }
}

describeNeeding(
  ['root', 'loop', 'btrfs', 'xfs', 'ext4'],
  'a filesystem that somebody else holds frozen',
  () => {
    it('as a source is found before an application is stopped: exit 20', async () => {
      const disk = await disks.filesystem({ fstype: 'btrfs' });
      const job = {
        sources: [disk.mountpoint],
        targets: [{ path: target }],
        quiesce: [application('db')],
      };
      const { exitCode, value, log: told } = await whileFrozen(disk, () => run(job));
      expect([exitCode, value.error?.code, told]).toEqual([20, 'notFrozen', '']);
      expect((await run(job)).exitCode).not.toBe(20);
    });

    it('by a freeze of ours is exit 11, before an application is stopped, and in no history', async () => {
      const disk = await disks.filesystem({ fstype: 'btrfs' });
      await cli.run('freeze', disk.mountpoint);
      const job = {
        sources: [disk.mountpoint],
        targets: [{ path: target }],
        quiesce: [application('db')],
        attempts: 1,
      };
      const { exitCode, log: told } = await run(job);
      await cli.run('thaw', disk.mountpoint);
      expect([exitCode, told]).toEqual([11, '']);
      expect((await cli.run('status')).stdout).not.toContain('exit 11');
    });

    it('as what holds an image, or as a target, hangs nobody: exit 20', async () => {
      const storage = await disks.filesystem({ fstype: 'xfs' });
      const disk = await disks.filesystem({ fstype: 'ext4', on: storage });
      const other = await disks.filesystem({ fstype: 'ext4' });
      const sources = [disk.mountpoint];
      const held = await whileFrozen(storage, () => run({ sources, targets: [{ path: target }] }));
      expect([held.exitCode, held.value.error?.message]).toEqual([
        20,
        expect.stringContaining(storage.mountpoint),
      ]);
      const targets = [{ path: other.mountpoint }, { path: target }];
      const source = await whileFrozen(disk, () =>
        run({ sources, targets: [{ path: target }], quiesce: [application('db')] }),
      );
      expect([source.exitCode, source.log]).toEqual([20, '']);
      const left = await whileFrozen(other, () => run({ sources, targets }));
      expect(left.exitCode).toBe(20);
      expect(left.value.failedCopies).toMatchObject([
        { target: other.mountpoint, error: { code: 'notFrozen' } },
      ]);
      expect(left.value.copies).toMatchObject([{ target }]);
    });

    it('from when an application is at rest: a snapshot that hangs is given up after max-hold, once', async () => {
      const disk = await disks.filesystem({ fstype: 'btrfs' });
      const {
        exitCode,
        value,
        log: told,
      } = await run({
        sources: [disk.mountpoint],
        targets: [{ path: target }],
        quiesce: [application('db'), freezer(disk.mountpoint)],
        freeze: { timeout: '2s', maxHold: '3s' },
      });
      expect(value.error?.message).toContain('max-hold (3.0 s)');
      expect([exitCode, value.sources[0]?.attempts, told]).toEqual([30, 1, 'db-stops db-goes-on']);
    });

    it('from when an application is at rest: a `before` that hangs keeps no other at rest', async () => {
      const disk = await disks.filesystem({ fstype: 'ext4' });
      const hangs = {
        name: 'flush',
        before: ['touch', path.join(disk.mountpoint, 'flush')],
        after: says('flush-goes-on'),
        timeout: '1s',
      };
      const { exitCode, log: told } = await run({
        sources: [{ path: disk.mountpoint, snapshot: 'none' }],
        targets: [{ path: target }],
        quiesce: [application('db'), freezer(disk.mountpoint), hangs],
      });
      expect([exitCode, told]).toEqual([1, 'db-stops flush-goes-on db-goes-on']);
    });
  },
);
