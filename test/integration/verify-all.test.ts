import { mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { dataDirectory, type BackupRef } from '../../src/copy/backup/backup-layout.js';
import { listJobBackups } from '../../src/copy/backup/backup-list.js';
import type { VerifyEntry } from '../../src/copy/verify/unverified.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

interface Row {
  job: string;
  target: string | null;
  backupId: string | null;
  exitCode: number;
  outcome: string;
}

describeNeeding(
  ['root', 'loop', 'ext4', 'program:rsync', 'program:zstd'],
  'backups verify of several',
  () => {
    const disks = throwawayDisks(afterAll);
    let cli: FsbackupCli;
    let source: string;
    let disk: ThrowawayFilesystem;
    let directory: string;
    let config: string;
    let near: string;
    let count = 0;

    beforeAll(async () => {
      source = path.join(disks.directory, 'srv');
      await mkdir(source);
      await writeFile(path.join(source, 'page'), 'page '.repeat(10_000));
      disk = await disks.filesystem({ fstype: 'ext4' });
    });

    beforeEach(async () => {
      count += 1;
      directory = path.join(disks.directory, `case-${count}`);
      near = path.join(directory, 'near');
      await mkdir(near, { recursive: true });
      cli = new FsbackupCli(directory);
      config = path.join(directory, 'config.yaml');
      const far = { path: disk.mountpoint, engine: 'tar', mustBeMountpoint: true };
      const job = { sources: [{ path: source, snapshot: 'none' }] };
      const jobs = {
        [`one${count}`]: { ...job, targets: [near, far] },
        [`two${count}`]: { ...job, targets: [near] },
      };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    });

    async function backUp(): Promise<void> {
      const { exitCode, stderr } = await cli.run('run', '--config', config, '--quiet');
      expect([exitCode, stderr]).toEqual([0, '']);
    }

    async function newest(target: string, job: string): Promise<BackupRef> {
      const found = (await listJobBackups(target, job)).at(-1);
      if (found === undefined) throw new Error(`no backup of ${job} in ${target}`);
      return found;
    }

    async function verify(...args: string[]): Promise<{ exitCode: unknown; rows: Row[]; stderr: string }> {
      const { exitCode, stdout, stderr } = await cli.run('backups', 'verify', ...args, '--json');
      const { verified } = JSON.parse(stdout) as { verified?: VerifyEntry[] };
      const rows = (verified ?? []).map((entry) => ({
        job: entry.job.replace(/\d+$/, ''),
        target: entry.target,
        backupId: entry.backupId,
        exitCode: entry.exitCode,
        outcome: 'error' in entry ? entry.error.code : entry.outcome,
      }));
      return { exitCode, rows, stderr };
    }

    it('looks at the newest of every job, or at the copy of it in each target', async () => {
      await backUp();
      const one = (await newest(near, `one${count}`)).backupId;
      const two = (await newest(near, `two${count}`)).backupId;
      const ok = { exitCode: 0, outcome: 'ok' };
      const far = disk.mountpoint;
      expect(await verify('--config', config)).toMatchObject({
        exitCode: 0,
        rows: [
          { job: 'one', target: near, backupId: one, ...ok },
          { job: 'two', target: near, backupId: two, ...ok },
        ],
      });
      expect((await verify('--config', config, '--all-targets', '--full')).rows).toMatchObject([
        { job: 'one', target: near, backupId: one, ...ok },
        { job: 'one', target: far, backupId: one, ...ok },
        { job: 'two', target: near, backupId: two, ...ok },
      ]);
      expect((await verify(`one${count}@${one}`, '--config', config, '--all-targets')).rows).toMatchObject([
        { target: near, ...ok },
        { target: far, ...ok },
      ]);
      expect((await verify('--from', near)).rows).toMatchObject([
        { job: 'one', ...ok },
        { job: 'two', ...ok },
      ]);
      const quiet = await cli.run('backups', 'verify', '--config', config, '--all-targets', '--quiet');
      expect([quiet.exitCode, quiet.stdout, quiet.stderr]).toEqual([0, '', '']);
    });

    it('goes on past one that is bad and one that is not there, and ends with the gravest', async () => {
      await backUp();
      await rename(dataDirectory(await newest(near, `one${count}`)), path.join(directory, 'taken'));
      await must('umount', disk.mountpoint);
      let first: Awaited<ReturnType<typeof verify>>;
      let said: Awaited<ReturnType<FsbackupCli['run']>>;
      try {
        first = await verify('--config', config, '--all-targets');
        said = await cli.run('backups', 'verify', '--config', config, '--all-targets', '--quiet');
      } finally {
        await must('mount', disk.device, disk.mountpoint);
      }
      expect(first).toMatchObject({
        exitCode: 50,
        rows: [
          { job: 'one', target: near, exitCode: 50, outcome: 'failed' },
          { job: 'one', target: disk.mountpoint, backupId: null, exitCode: 2, outcome: 'usage' },
          { job: 'two', target: near, exitCode: 0, outcome: 'ok' },
        ],
      });
      expect([said.exitCode, said.stdout]).toEqual([50, '']);
      expect(said.stderr).toContain(`in ${near}: FAILED, quick verify`);
      expect(said.stderr).toContain(
        `one${count} in ${disk.mountpoint}: NOT VERIFIED: ${disk.mountpoint} is not a mountpoint`,
      );
      expect(said.stderr).not.toContain('two');

      // A copy is bad where it is bad: the other one is the one that a restore takes.
      const restored = path.join(directory, 'restored');
      const restore = await cli.run('restore', `one${count}`, '--config', config, '--to', restored, '--json');
      expect(JSON.parse(restore.stdout)).toMatchObject({ target: disk.mountpoint, outcome: 'success' });
      const history = await readdir(path.join(directory, 'state', 'history', 'verified'));
      expect(history.toSorted()).toEqual([`one${count}.jsonl`, `two${count}.jsonl`]);
    });

    it('tells of a job without a backup, and of one that is not configured, and tries the others', async () => {
      await backUp();
      const { exitCode, rows } = await verify('gone', `two${count}`, '--config', config, '--all-targets');
      expect(rows).toMatchObject([
        { job: 'gone', target: null, backupId: null, exitCode: 2 },
        { job: 'two', exitCode: 0 },
      ]);
      expect(exitCode).toBe(2);
      // One alone is an error, as ever.
      const alone = await cli.run('backups', 'verify', 'gone', '--config', config, '--json');
      expect(JSON.parse(alone.stdout)).toMatchObject({ version: 1, error: { code: 'usage' } });
    });

    it('warns of a target whose newest backup is an old one', async () => {
      await backUp();
      const old = (await newest(disk.mountpoint, `one${count}`)).backupId;
      await must('umount', disk.mountpoint);
      try {
        expect((await cli.run('run', '--config', config, '--quiet')).exitCode).toBe(2);
      } finally {
        await must('mount', disk.device, disk.mountpoint);
      }
      const { exitCode, rows, stderr } = await verify(`one${count}`, '--config', config, '--all-targets');
      expect(rows).toMatchObject([{ outcome: 'ok' }, { outcome: 'ok', backupId: old }]);
      expect(rows[0]?.backupId).not.toBe(old);
      expect(stderr).toContain(`the newest backup of one${count} in ${disk.mountpoint} is ${old}: `);
      expect(exitCode).toBe(0);
    });

    it('drills each copy, and refuses what makes no sense', async () => {
      await backUp();
      const { exitCode, rows } = await verify('--config', config, '--drill', '--all-targets');
      expect(rows.map(({ target, outcome }) => [target, outcome])).toEqual([
        [near, 'ok'],
        [disk.mountpoint, 'ok'],
        [near, 'ok'],
      ]);
      expect(exitCode).toBe(0);
      const refused = await cli.run('backups', 'verify', '--from', near, '--all-targets');
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr.split('\n')[0]).toContain('--from');
      const empty = path.join(directory, 'empty');
      await mkdir(empty);
      const none = await cli.run('backups', 'verify', '--from', empty);
      expect([none.exitCode, none.stderr]).toEqual([2, expect.stringContaining('there is no backup in')]);
    });
  },
);
