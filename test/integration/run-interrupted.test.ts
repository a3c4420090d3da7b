import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import { ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();
let cli: FsbackupCli;
let target: string;
let storage: ThrowawayFilesystem;
let source: ThrowawayFilesystem;

beforeEach(async () => {
  cli = new FsbackupCli(disks.directory);
  target = path.join(disks.directory, 'backups');
  await mkdir(target);
  storage = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
  source = await disks.filesystem({ fstype: 'ext4', sizeMiB: 40_960, on: storage });
  const big = path.join(source.mountpoint, 'big');
  await writeFile(big, 'x');
  // All hole: long to read, and nothing on the disk.
  await truncate(big, 32 * 1024 ** 3);
});

afterEach(async () => {
  await disks.dispose();
});

function jobOf(name: string): string[] {
  return ['--job', name, '--source', source.mountpoint, '--to', target];
}

/** A run that is in the middle of its copy. */
async function copying(name: string): Promise<StartedCli> {
  const started = cli.start('run', ...jobOf(name));
  await cli.journalled('backup', started);
  // rsync writes into a temporary file beside the name.
  while (!(await readdir(target, { recursive: true })).some((file) => /\/\.?big\.?[^/]*$/.test(file))) {
    if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
    await sleep(5);
  }
  return started;
}

async function expectNothingLeft(): Promise<void> {
  expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  expect(await cli.journalEntries()).toEqual([]);
  expect(await readdir(storage.mountpoint)).not.toContain('.fsbackup-snapshots');
  const jobs = await readdir(target);
  const backups = await Promise.all(jobs.map((job) => readdir(path.join(target, job))));
  expect(backups.flat()).toEqual([]);
  // And it can be written to: nothing is frozen.
  await writeFile(path.join(source.mountpoint, 'after'), 'written');
  expect(await readFile(path.join(source.mountpoint, 'after'), 'utf8')).toBe('written');
}

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:rsync'],
  'a run that is cut short in its copy',
  () => {
    it.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)('by %s releases everything and exits %i', async (signal, exitCode) => {
      const started = await copying('big');
      started.kill(signal);
      // A second one changes nothing.
      started.kill(signal);
      expect(await started.ended(), started.output).toBe(exitCode);
      await expectNothingLeft();
    });

    it('by SIGKILL leaves what recover releases, once and for all', async () => {
      const started = await copying('big');
      started.kill('SIGKILL');
      expect(await started.ended()).toBe('SIGKILL');
      expect((await cli.journalEntries()).length).toBeGreaterThanOrEqual(3);

      const { exitCode, value } = await cli.recover();
      expect(value.failed).toEqual([]);
      expect(exitCode).toBe(0);
      expect(value.released.map(({ kind }) => kind)).toEqual(['backup', 'exposure', 'snapshot']);
      await expectNothingLeft();

      const again = await cli.recover();
      expect(again.value).toEqual({ version: 1, released: [], failed: [], leftAlone: [], unreadable: [] });
    });

    it('by SIGKILL is cleaned up by the next run', async () => {
      const started = await copying('big');
      started.kill('SIGKILL');
      await started.ended();
      await truncate(path.join(source.mountpoint, 'big'), 1);
      const { value, stderr } = await cli.runJob(...jobOf('big'));
      expect(value.copies, stderr).toMatchObject([{ files: 1 }]);
      expect(await readdir(path.join(target, 'big'))).toEqual([value.runId]);
      expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
      expect(await cli.journalEntries()).toEqual([]);
    });

    it('locks out a run beside it, of the job or into the target, and is left alone by recover', async () => {
      const started = await copying('big');
      for (const name of ['big', 'other']) {
        const { exitCode, value } = await cli.runJob(...jobOf(name));
        expect(exitCode).toBe(11);
        expect(value).toMatchObject({ outcome: 'failed', error: { code: 'locked' } });
        expect(value.error?.message).toContain('fsbackup run --job big');
      }
      const { exitCode, value } = await cli.recover();
      expect(exitCode).toBe(0);
      expect(value.released).toEqual([]);
      expect(value.leftAlone.map(({ kind }) => kind).toSorted()).toEqual(['backup', 'exposure', 'snapshot']);
      expect(started.hasEnded, started.output).toBe(false);
      started.kill('SIGTERM');
      await started.ended();
      await expectNothingLeft();
    });

    it('is waited for with --lock-wait', async () => {
      const started = await copying('big');
      const waiting = cli.runJob(...jobOf('big'), '--lock-wait', '90s');
      started.kill('SIGTERM');
      await started.ended();
      await truncate(path.join(source.mountpoint, 'big'), 1);
      const { value } = await waiting;
      expect(value.copies.length + (value.error === undefined ? 0 : 1)).toBe(1);
      expect(value.error?.code).not.toBe('locked');
    });
  },
);
