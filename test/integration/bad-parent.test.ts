import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it, vi } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { isComplete, listBackups, type CompleteBackup } from '../../src/copy/backup/backup-list.js';
import type { ListedBackup } from '../../src/copy/backup/render-backups.js';
import type { RestoreReport } from '../../src/copy/restore/restore-backup.js';
import type { VerifyReport } from '../../src/copy/verify/verify-backup.js';
import { describeNeeding } from '../support/capabilities.js';
import { flipByteOfLargest } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { flipMarker } from '../support/send-worlds.js';
import { resticRepository } from '../support/repositories.js';
import { SshServer } from '../support/ssh-server.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** A bound against hanging: commands of a loaded machine take their time. */
vi.setConfig({ testTimeout: 600_000 });

/** The backups of a target, the oldest first. */
async function complete(target: string): Promise<CompleteBackup[]> {
  return (await listBackups(target)).filter(isComplete);
}

async function last(target: string): Promise<CompleteBackup> {
  const found = (await complete(target)).at(-1);
  if (found === undefined) throw new Error('there is no backup');
  return found;
}

describeNeeding(
  ['root', 'program:rsync', 'program:ssh', 'program:sshd', 'program:restic'],
  'rsync and restic after a backup was found bad',
  () => {
    let directory: string;
    let source: string;
    let config: string;
    let cli: FsbackupCli;

    beforeEach(async () => {
      directory = await mkdtemp(path.join(os.tmpdir(), 'bad-parent-'));
      source = path.join(directory, 'source');
      config = path.join(directory, 'config.yaml');
      cli = new FsbackupCli(directory);
      await mkdir(source);
      await mkdir(path.join(directory, 'backups'));
      await writeFile(path.join(source, 'page'), 'content '.repeat(50_000));
      await writeFile(path.join(source, 'other'), 'other');
    });
    afterEach(async () => {
      await rm(directory, { recursive: true, force: true });
    });

    async function configure(target: object | string): Promise<void> {
      const sources = [{ path: source, snapshot: 'none' }];
      const jobs = { srv: { sources, targets: [target], attempts: 1 } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    }

    const run = () => cli.runJob('--config', config);
    const verify = (which: string, ...args: string[]) =>
      cli.run('backups', 'verify', which, '--config', config, ...args);

    it('restores the copy that is good, and a bad one only when that is named by its whole id', async () => {
      const [near, far] = ['backups', 'others'].map((name) => path.join(directory, name)) as [string, string];
      await mkdir(far);
      const jobs = {
        srv: { sources: [{ path: source, snapshot: 'none' }], targets: [near, far], attempts: 1 },
      };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      expect((await run()).exitCode).toBe(0);
      const { backupId } = await last(near);
      const restore = async (which: string, to: string) => {
        const args = ['restore', which, '--config', config, '--to', path.join(directory, to), '--json'];
        const { exitCode, stdout, stderr } = await cli.run(...args);
        return { exitCode, stderr, report: JSON.parse(stdout) as RestoreReport };
      };
      const makeBad = async (target: string): Promise<void> => {
        await flipByteOfLargest(dataDirectory({ target, job: 'srv', backupId }));
        const verified = await cli.run('backups', 'verify', 'srv', '--full', '--from', target);
        expect(verified.exitCode).toBe(50);
      };

      await makeBad(near);
      const good = await restore('srv', 'good');
      expect(good).toMatchObject({ exitCode: 0, report: { target: far, outcome: 'success' } });
      expect(good.stderr).toContain(
        `Warning: of srv@${backupId}, not the copy in ${near} is used but the one in ${far}: it failed its full verify`,
      );
      expect(await readFile(path.join(directory, 'good', source, 'page'))).toEqual(
        await readFile(path.join(source, 'page')),
      );

      await makeBad(far);
      const refused = await restore(`srv@${backupId.slice(0, -1)}`, 'refused');
      expect(refused).toMatchObject({ exitCode: 2, report: { error: { code: 'usage' } } });
      expect(refused.stderr).toContain('is known to be bad');
      await expect(stat(path.join(directory, 'refused'))).rejects.toMatchObject({ code: 'ENOENT' });
      const meant = await restore(`srv@${backupId}`, 'meant');
      expect(meant).toMatchObject({ exitCode: 3, report: { target: near, outcome: 'warnings' } });
      expect(meant.report.doubt).toMatch(/^it failed its full verify/);
    });

    it('knows it by whatever name its target has: a symlink, another mountpoint', async () => {
      const names = ['backups', 'moved', 'link'].map((name) => path.join(directory, name));
      const [target = '', moved = '', link = ''] = names;
      const state = async (from: string) => {
        const { stdout } = await cli.run('backups', 'list', '--from', from, '--json');
        return (JSON.parse(stdout) as { backups: ListedBackup[] }).backups.map(
          ({ verified }) => verified?.outcome,
        );
      };
      await symlink(target, link);
      await configure(target);
      expect(await cli.run('run', '--config', config)).toMatchObject({ exitCode: 0 });
      await flipByteOfLargest(dataDirectory(await last(target)));
      expect(await cli.run('backups', 'verify', 'srv', '--full', '--from', link)).toMatchObject({
        exitCode: 50,
      });
      expect(await state(target)).toEqual(['failed']);
      await mkdir(moved);
      await must('mount', '--bind', target, moved);
      try {
        expect(await state(moved)).toEqual(['failed']);
        const restore = ['restore', 'srv', '--from', moved, '--to', path.join(directory, 'restored')];
        expect((await cli.run(...restore)).exitCode).not.toBe(0);
        expect(await cli.run('backups', 'verify', 'srv', '--full', '--from', moved)).toMatchObject({
          exitCode: 50,
        });
        await configure(moved);
        const { value } = await cli.runJob('--config', config);
        expect(value.warnings.join()).toMatch(/failed its full verify/);
      } finally {
        await must('umount', moved);
      }
    });

    it('shares no file with it whose content is not that of the source, and says so', async () => {
      const target = path.join(directory, 'backups');
      await configure(target);
      expect((await run()).exitCode).toBe(0);
      const first = await last(target);
      const page = ({ target: at, job, backupId }: CompleteBackup, name = 'page'): string =>
        path.join(dataDirectory({ target: at, job, backupId }), source, name);
      await flipByteOfLargest(dataDirectory(first));
      expect((await verify('srv', '--full')).exitCode).toBe(50);

      const plan = await cli.run('plan', 'srv', '--config', config);
      expect(plan.stdout.replaceAll(/\s+/g, ' ')).toContain(`${first.backupId} failed its full verify`);
      const second = await run();
      expect(second.exitCode, second.stderr).toBe(3);
      expect(second.value.outcome).toBe('warnings');
      expect(second.value.warnings).toHaveLength(1);
      expect(second.value.warnings.join()).toMatch(
        new RegExp(`${first.backupId}.*failed its full verify.*content`),
      );
      const whole = await last(target);
      expect((await verify('srv', '--full')).exitCode).toBe(0);
      expect(await readFile(page(whole))).toEqual(await readFile(path.join(source, 'page')));
      // What is good is shared all the same: a target need not have room for all of it twice.
      expect((await stat(page(whole, 'other'))).ino).toBe((await stat(page(first, 'other'))).ino);

      // Made since, and so made of nothing that is in doubt.
      const third = await run();
      expect([third.exitCode, third.value.warnings]).toEqual([0, []]);
      expect((await stat(page(await last(target)))).ino).toBe((await stat(page(whole))).ino);
    });

    it('mistrusts what was made before the failure and shares files with it, until that is verified', async () => {
      const target = path.join(directory, 'backups');
      await configure(target);
      for (let count = 0; count < 2; count += 1) expect((await run()).exitCode).toBe(0);
      const [first, second] = await complete(target);
      if (first === undefined || second === undefined) throw new Error('too few backups');
      // The file of both: only one of them was looked at.
      await flipByteOfLargest(dataDirectory(second));
      expect((await verify(`srv@${first.backupId}`, '--full')).exitCode).toBe(50);
      expect((await run()).exitCode).toBe(3);
      expect((await verify('srv', '--full')).exitCode).toBe(0);

      // What is wrong with an old one alone costs nothing once the last one was looked at.
      const list = path.join(path.dirname(dataDirectory(first)), 'digests.gz');
      await writeFile(list, 'damaged');
      expect((await verify(`srv@${first.backupId}`, '--full')).exitCode).toBe(50);
      expect((await verify('srv', '--full')).exitCode).toBe(0);
      expect((await run()).exitCode).toBe(0);
    });

    it('cannot help what a repository has already, and says so until that is proven', async () => {
      const repository = path.join(directory, 'restic');
      const environment = { RESTIC_CACHE_DIR: path.join(directory, 'cache') };
      await configure({ engine: 'restic', ...resticRepository(repository).target.repository, environment });
      const first = await run();
      expect(first.exitCode, first.stderr).toBe(0);
      await flipByteOfLargest(path.join(repository, 'data'));
      expect((await verify('srv', '--full')).exitCode).toBe(50);
      for (let count = 0; count < 2; count += 1) {
        const { exitCode, value, stderr } = await run();
        expect(exitCode, stderr).toBe(3);
        expect(value.warnings).toHaveLength(1);
        expect(value.warnings[0]).toMatch(/failed its full verify.*may be as bad.*restic check/);
      }
      // It is.
      expect((await verify('srv', '--full')).exitCode).toBe(50);
    });

    it('does the same at another host', async () => {
      const ssh = await SshServer.start(directory);
      try {
        const remote = path.join(directory, 'remote');
        const repository = `ssh://root@127.0.0.1:${ssh.port}${remote}`;
        await configure({ repository, initialise: true, environment: { RSYNC_RSH: ssh.client } });
        const first = await run();
        expect(first.exitCode, first.stderr).toBe(0);
        await flipByteOfLargest(remote);
        expect((await verify('srv', '--full')).exitCode).toBe(50);
        const second = await run();
        expect(second.exitCode, second.stderr).toBe(3);
        expect((await verify('srv', '--full')).exitCode).toBe(0);
      } finally {
        await ssh.stop();
      }
    });
  },
);

describeNeeding(
  ['root', 'loop', 'btrfs', 'program:btrfs', 'program:zstd'],
  'btrfs-send after a backup was found bad',
  () => {
    const disks = throwawayDisks(afterAll);
    let origin: ThrowawayFilesystem;
    let cli: FsbackupCli;
    let count = 0;

    beforeEach(async () => {
      count += 1;
      origin = await disks.filesystem({ fstype: 'btrfs', name: `origin-${count}` });
      const file = path.join(origin.mountpoint, 'large');
      await must('dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=4', 'status=none');
      cli = new FsbackupCli(path.join(disks.directory, `host-${count}`));
    });

    async function run(target: string) {
      const { mountpoint } = origin;
      return await cli.runJob(
        '--job',
        'srv',
        '--source',
        mountpoint,
        '--to',
        target,
        '--engine',
        'btrfs-send',
      );
    }
    const verify = (target: string, ...args: string[]) =>
      cli.run('backups', 'verify', 'srv', '--from', target, ...args);

    it('sends all of it again, and goes on from there', async () => {
      const target = path.join(disks.directory, `target-${count}`);
      await mkdir(target);
      expect((await run(target)).exitCode).toBe(0);
      await flipByteOfLargest(dataDirectory(await last(target)));
      expect((await verify(target, '--full')).exitCode).toBe(50);

      const second = await run(target);
      expect(second.exitCode, second.stderr).toBe(3);
      expect(second.value.warnings).toHaveLength(1);
      expect(second.value.warnings[0]).toMatch(/failed its full verify.*a full backup is made/);
      const full = await last(target);
      expect(full.manifest.needs).toBeUndefined();
      expect((await verify(target, '--full')).exitCode).toBe(0);
      // The base that was kept is the new one's.
      expect((await run(target)).exitCode).toBe(0);
      expect((await last(target)).manifest.needs).toEqual([full.backupId]);
    });

    it('finds in an increment what is wrong with the backups that it needs, and knows it of those', async () => {
      const target = path.join(disks.directory, `target-${count}`);
      await mkdir(target);
      for (let round = 0; round < 3; round += 1) {
        expect((await run(target)).exitCode).toBe(0);
        await writeFile(path.join(origin.mountpoint, 'file'), `content ${round}`);
      }
      const [full, middle, latest] = await complete(target);
      if (full === undefined || middle === undefined || latest === undefined) throw new Error('three');
      const verified = async (...args: string[]) => {
        const { exitCode, stdout } = await verify(target, '--json', ...args);
        const [report] = (JSON.parse(stdout) as { verified: VerifyReport[] }).verified;
        return { exitCode, report };
      };
      expect(await verified('--full')).toMatchObject({
        exitCode: 0,
        report: {
          outcome: 'ok',
          // All that a restore reads.
          bytes: full.manifest.bytes + middle.manifest.bytes + latest.manifest.bytes,
          needs: [
            { backupId: full.backupId, outcome: 'ok', bytes: full.manifest.bytes },
            { backupId: middle.backupId, outcome: 'ok', bytes: middle.manifest.bytes },
          ],
        },
      });

      await flipByteOfLargest(dataDirectory(full));
      const bad = await verified('--full');
      expect(bad).toMatchObject({
        exitCode: 50,
        report: {
          backupId: latest.backupId,
          outcome: 'failed',
          needs: [{ outcome: 'failed' }, { outcome: 'ok' }],
        },
      });
      expect(bad.report?.problems.join()).toContain(
        `it needs the backup ${full.backupId}, which is not what it was`,
      );
      const list = await cli.run('backups', 'list', '--from', target, '--json');
      const { backups } = JSON.parse(list.stdout) as { backups: ListedBackup[] };
      expect(backups.map((one) => one.verified?.outcome)).toEqual(['failed', 'failed', 'failed']);

      await rm(path.dirname(dataDirectory(full)), { recursive: true });
      const quick = await verified('--quick');
      expect([quick.exitCode, quick.report?.problems]).toEqual([
        50,
        [`it cannot be restored without the backup ${full.backupId}, which is not there`],
      ]);
    });

    it('builds on no subvolume that cannot be read', async () => {
      const disk = await disks.filesystem({ fstype: 'btrfs', name: `target-${count}` });
      const target = disk.mountpoint;
      expect((await run(target)).exitCode).toBe(0);
      const first = await last(target);
      const received = path.join(
        dataDirectory(first),
        await must('ls', dataDirectory(first)).then(subvolumeOf),
      );
      const file = path.join(received, 'large');
      // btrfs finds by its own checksums that a block is not what it was.
      const start = (await readFile(file)).subarray(0, 64);
      await must('umount', target);
      await flipMarker(disk.image, start);
      await must('mount', disk.device, target);
      expect((await verify(target, '--full')).exitCode).toBe(50);
      const second = await run(target);
      expect(second.exitCode, second.stderr).toBe(3);
      expect((await verify(target, '--full')).exitCode).toBe(0);
    });
  },
);

function subvolumeOf(listing: string): string {
  const name = listing.split('\n').find((one) => one !== 'contents.json' && one !== '');
  if (name === undefined) throw new Error(listing);
  return name;
}
