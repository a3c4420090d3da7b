import { mkdir, open, readdir, readFile, stat, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { findProcesses } from '../support/find-processes.js';
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
  await writeFile(path.join(source.mountpoint, 'a-first'), 'first');
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

/** Where what is broken off of a job is kept. */
function keptDirectory(job: string): string {
  return path.join(target, job, `.incomplete-${os.hostname()}`);
}

/** The files that are being copied, and the records of those that are. */
async function inTarget(pattern: RegExp): Promise<string[]> {
  const found = await readdir(target, { recursive: true });
  return found.filter((file) => pattern.test(file)).map((file) => path.join(target, file));
}

/** A run that is in the middle of its copy: its first file is copied, and that is recorded. */
async function copying(name: string): Promise<StartedCli> {
  const started = cli.start('run', ...jobOf(name));
  await cli.journalled('backup', started);
  for (;;) {
    // rsync writes into a temporary file beside the name.
    const [current] = await inTarget(/\/\.?big\.?[^/]*$/);
    const [record] = await inTarget(/\.raw$/);
    if (current !== undefined && record !== undefined && /a-first$/m.test(await readFile(record, 'utf8')))
      return started;
    if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
    await sleep(5);
  }
}

/** The first file, where it is copied to. It is held, or its number would be used again. */
async function holdFirst(): Promise<FileHandle> {
  const [copied = ''] = await inTarget(/\/a-first$/);
  return await open(copied);
}

/** One that ended meanwhile is no matter. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ESRCH.
  }
}

async function expectReleased(): Promise<void> {
  expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  expect(await cli.journalEntries()).toEqual([]);
  expect(await readdir(storage.mountpoint)).not.toContain('.fsbackup-snapshots');
  // And it can be written to: nothing is frozen.
  await writeFile(path.join(source.mountpoint, 'after'), 'written');
  expect(await readFile(path.join(source.mountpoint, 'after'), 'utf8')).toBe('written');
}

/** Nothing is left but what was copied, under a name that says so. */
async function expectKept(job: string): Promise<void> {
  await expectReleased();
  expect(await readdir(path.join(target, job))).toEqual([path.basename(keptDirectory(job))]);
  const { stdout } = await cli.run('backups', 'list', '--from', target);
  expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(
    /no backups \S+ was broken off, and is kept for the next run of/,
  );
  const json = JSON.parse((await cli.run('backups', 'list', '--from', target, '--json')).stdout) as unknown;
  expect(json).toMatchObject({ backups: [], interrupted: [{ target, job, directory: keptDirectory(job) }] });
}

/** The next run goes on from what was copied, and its backup is one that every byte of is proven of. */
async function expectGoneOnWith(job: string, first: FileHandle): Promise<void> {
  await truncate(path.join(source.mountpoint, 'big'), 1);
  const { value, stderr } = await cli.runJob(...jobOf(job));
  expect(value.outcome, stderr).toBe('success');
  expect(await readdir(path.join(target, job))).toEqual([value.runId]);
  const backup = path.join(target, job, value.runId);
  expect((await readdir(backup)).toSorted()).toEqual(['data', 'digests.gz', 'manifest.json']);
  const stored = await stat(path.join(backup, 'data', source.mountpoint, 'a-first'));
  expect(stored.ino).toBe((await first.stat()).ino);
  await first.close();
  const verified = await cli.run('backups', 'verify', job, '--full', '--from', target, '--json');
  expect(verified.exitCode).toBe(0);
  expect(JSON.parse(verified.stdout)).toMatchObject({ verified: [{ outcome: 'ok', withoutDigest: 0 }] });
  expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  expect(await cli.journalEntries()).toEqual([]);
}

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:rsync'],
  'a run that is cut short in its copy',
  () => {
    it.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)('by %s releases everything, exits %i, and is gone on with', async (signal, exitCode) => {
      const started = await copying('big');
      const first = await holdFirst();
      started.kill(signal);
      // A second one changes nothing.
      started.kill(signal);
      expect(await started.ended(), started.output).toBe(exitCode);
      await expectKept('big');
      await expectGoneOnWith('big', first);
    });

    it('by SIGKILL leaves what recover releases, once and for all, and is gone on with', async () => {
      const started = await copying('big');
      const first = await holdFirst();
      started.kill('SIGKILL');
      expect(await started.ended()).toBe('SIGKILL');
      expect((await cli.journalEntries()).length).toBeGreaterThanOrEqual(3);

      const { exitCode, value } = await cli.recover();
      expect(value.failed).toEqual([]);
      expect(exitCode).toBe(0);
      expect(value.released.map(({ kind, keptIn }) => [kind, keptIn])).toEqual([
        ['backup', keptDirectory('big')],
        ['exposure', undefined],
        ['snapshot', undefined],
      ]);
      await expectKept('big');

      const again = await cli.recover();
      expect(again.value).toEqual({ version: 1, released: [], failed: [], leftAlone: [], unreadable: [] });
      await expectGoneOnWith('big', first);
    });

    it('by SIGKILL is gone on with by the next run, without a recover', async () => {
      const started = await copying('big');
      const first = await holdFirst();
      started.kill('SIGKILL');
      expect(await started.ended()).toBe('SIGKILL');
      await expectGoneOnWith('big', first);
    });

    it('by a SIGKILL of rsync exits 40, and is gone on with', async () => {
      const started = await copying('big');
      const first = await holdFirst();
      for (const pid of await findProcesses('rsync', target)) killIfThere(pid);
      expect(await started.ended(), started.output).toBe(40);
      await expectKept('big');
      await expectGoneOnWith('big', first);
    });

    it('by a target that is full frees its room, and the next run completes', async () => {
      const small = await disks.filesystem({ fstype: 'ext4', sizeMiB: 32 });
      target = path.join(small.mountpoint, 'backups');
      await mkdir(target);
      await writeFile(path.join(source.mountpoint, 'big'), Buffer.alloc(40 * 1024 ** 2, 'x'));
      const { exitCode, value } = await cli.runJob(...jobOf('big'));
      expect([exitCode, value.error?.message]).toEqual([
        40,
        expect.stringContaining('No space left on device'),
      ]);
      await expectReleased();
      expect(await readdir(path.join(target, 'big'))).toEqual([]);
      await truncate(path.join(source.mountpoint, 'big'), 1);
      expect((await cli.runJob(...jobOf('big'))).value.outcome).toBe('success');
    });

    it('is not kept by a run of another engine', async () => {
      const started = await copying('big');
      started.kill('SIGTERM');
      await started.ended();
      await truncate(path.join(source.mountpoint, 'big'), 1);
      const { value } = await cli.runJob(...jobOf('big'), '--engine', 'tar');
      expect(await readdir(path.join(target, 'big'))).toEqual([value.runId]);
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

      // As from a container that has a /run of its own, and the state directory of the host.
      const elsewhere = ['env', `FSBACKUP_RUN_DIR=${path.join(disks.directory, 'run-2')}`];
      const beside = await cli.runUnder(elsewhere, 'run', ...jobOf('other'));
      expect(beside.exitCode, beside.stderr).toBe(11);
      const recovered = await cli.runUnder(elsewhere, 'recover', '--json');
      expect(JSON.parse(recovered.stdout)).toMatchObject({
        released: [],
        failed: [],
        leftAlone: [{ kind: 'backup' }, { kind: 'snapshot' }],
      });
      expect(started.hasEnded, started.output).toBe(false);
      started.kill('SIGTERM');
      await started.ended();
      await expectKept('big');
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
