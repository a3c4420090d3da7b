import { appendFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupDirectory, dataDirectory, type BackupRef } from '../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import type { VerifyReport } from '../../src/copy/verify/verify-backup.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** Overwrites one byte in the middle of a file, its times kept: what a bad disk does. */
async function flipByte(file: string): Promise<void> {
  const script = `
    when=$(stat -c %y "$1"); at=$(( $(stat -c %s "$1") / 2 ))
    byte=$(dd if="$1" bs=1 skip=$at count=1 status=none | od -An -tu1)
    printf "\\\\x$(printf %x $((byte ^ 255)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
    touch -d "$when" "$1"`;
  await must('bash', '-ec', script, 'bash', file);
}

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync', 'program:zstd'],
  'backups verify',
  () => {
    const disks = throwawayDisks(afterAll);
    let cli: FsbackupCli;
    let disk: ThrowawayFilesystem;
    let count = 0;

    beforeAll(async () => {
      cli = new FsbackupCli(disks.directory);
      const storage = await disks.filesystem({ fstype: 'xfs', sizeMiB: 512 });
      disk = await disks.filesystem({ fstype: 'ext4', on: storage });
      await mkdir(path.join(disk.mountpoint, 'www'));
      await writeFile(path.join(disk.mountpoint, 'www', 'page'), 'content '.repeat(50_000));
      await writeFile(path.join(disk.mountpoint, 'www', 'other'), 'other');
    });

    /** A target of its own with one backup from a snapshot. */
    async function backUp(engine: 'rsync' | 'tar'): Promise<{ target: string; latest: BackupRef }> {
      count += 1;
      const target = path.join(disks.directory, `target-${count}`);
      await mkdir(target);
      return { target, latest: await backUpAgain(target, engine) };
    }

    async function backUpAgain(target: string, engine: string): Promise<BackupRef> {
      const job = ['--job', 'srv', '--source', disk.mountpoint, '--to', target, '--engine', engine];
      expect((await cli.runJob(...job)).exitCode).toBe(0);
      const latest = (await listBackups(target)).at(-1);
      if (latest === undefined) throw new Error('there is no backup');
      return latest;
    }

    async function verify(
      target: string,
      ...args: string[]
    ): Promise<{ exitCode: unknown; report: VerifyReport }> {
      const { exitCode, stdout } = await cli.run(
        'backups',
        'verify',
        'srv',
        '--from',
        target,
        '--json',
        ...args,
      );
      const [report] = (JSON.parse(stdout) as { verified: VerifyReport[] }).verified;
      if (report === undefined) throw new Error(stdout);
      return { exitCode, report };
    }

    it.each(['rsync', 'tar'] as const)('finds one flipped byte in what %s wrote', async (engine) => {
      const { target, latest } = await backUp(engine);
      const good = await verify(target, '--full');
      expect(good).toMatchObject({ exitCode: 0, report: { outcome: 'ok', withoutDigest: 0, files: 2 } });
      expect((await verify(target, '--quick')).report.outcome).toBe('ok');

      const file = { rsync: `${disk.mountpoint}/www/page`, tar: '/data.tar.zst' }[engine];
      await flipByte(dataDirectory(latest) + file);
      const bad = await verify(target, '--full');
      expect(bad).toMatchObject({ exitCode: 50, report: { outcome: 'failed' } });
      const { changed, missing } = bad.report;
      expect([...changed.paths, ...missing.paths]).toContain(`${disk.mountpoint}/www/page`);

      // A look that could not have found it clears nothing.
      expect((await verify(target, '--quick')).exitCode).toBe(engine === 'rsync' ? 0 : 50);
      const list = await cli.run('backups', 'list', '--from', target);
      expect(list.stdout).toMatch(/(full|quick) failed \d{4}-\d\d-\d\d/);
      const show = await cli.run('backups', 'show', 'srv', '--from', target);
      expect(show.stdout).toMatch(/verified +(full|quick) failed/);
    });

    it('compares what was not read again with the digest of the backup that it is shared with', async () => {
      const { target } = await backUp('rsync');
      await writeFile(path.join(disk.mountpoint, 'www', 'new'), 'new');
      const second = await backUpAgain(target, 'rsync');
      await rm(path.join(disk.mountpoint, 'www', 'new'));
      expect(await verify(target, '--full')).toMatchObject({
        exitCode: 0,
        report: { withoutDigest: 0, files: 3 },
      });
      await flipByte(`${dataDirectory(second)}${disk.mountpoint}/www/page`);
      const { report } = await verify(target, '--full');
      expect(report.changed).toEqual({ count: 1, paths: [`${disk.mountpoint}/www/page`] });
    });

    it('names what is missing, too much, or of another size, by a quick look too', async () => {
      const { target, latest } = await backUp('rsync');
      const www = `${dataDirectory(latest)}${disk.mountpoint}/www`;
      await rm(path.join(www, 'other'));
      await writeFile(path.join(www, 'extra\u001B'), 'x');
      await appendFile(path.join(www, 'page'), 'x');
      const { exitCode, report } = await verify(target, '--quick');
      const live = `${disk.mountpoint}/www`;
      expect(exitCode).toBe(50);
      expect(report).toMatchObject({
        changed: { count: 1, paths: [`${live}/page`] },
        missing: { count: 1, paths: [`${live}/other`] },
        extra: { count: 1, paths: [String.raw`${live}/extra\033`] },
      });
    });

    it('says of a backup without digests what it could prove, and no more', async () => {
      const { target, latest } = await backUp('rsync');
      const file = path.join(backupDirectory(latest), 'manifest.json');
      const manifest = JSON.parse(await readFile(file, 'utf8')) as {
        digests?: unknown;
        sha256?: string;
        files: number;
      };
      delete manifest.digests;
      delete manifest.sha256;
      await writeFile(file, JSON.stringify(manifest));
      const full = await verify(target, '--full');
      expect(full).toMatchObject({ exitCode: 3, report: { outcome: 'unproven', withoutDigest: 2 } });
      expect((await verify(target)).exitCode).toBe(0);
      await writeFile(file, JSON.stringify({ ...manifest, files: 3 }));
      expect((await verify(target)).report.problems).toEqual(['it holds 2 files, and its manifest says 3']);
    });

    it('finds what cannot be read any more in a backup without digests', async () => {
      const btrfs = await disks.filesystem({ fstype: 'btrfs' });
      const target = btrfs.mountpoint;
      const latest = await backUpAgain(target, 'rsync');
      const file = path.join(backupDirectory(latest), 'manifest.json');
      const manifest = JSON.parse(await readFile(file, 'utf8')) as { digests?: unknown; sha256?: string };
      delete manifest.digests;
      delete manifest.sha256;
      await writeFile(file, JSON.stringify(manifest));
      expect((await verify(target, '--full')).report.outcome).toBe('unproven');

      // btrfs finds by its own checksums that a block is not what it was, and answers EIO.
      await must('umount', target);
      const spoil = `
      at=$(grep -abo -m 1 'content content content' "$1" | head -n 1 | cut -d : -f 1)
      printf X | dd of="$1" bs=1 seek=$((at + 100000)) conv=notrunc status=none`;
      await must('bash', '-ec', spoil, 'bash', btrfs.image);
      await must('mount', btrfs.device, target);
      const { exitCode, report } = await verify(target, '--full');
      expect(exitCode).toBe(50);
      expect(report.problems).toEqual([`${disk.mountpoint}/www/page cannot be read: Input/output error`]);
    });

    it('does not trust a list of digests that is not the one of the manifest', async () => {
      const { target, latest } = await backUp('rsync');
      await flipByte(path.join(backupDirectory(latest), 'digests.gz'));
      const changed = await verify(target, '--full');
      expect(changed.exitCode).toBe(50);
      expect(changed.report.problems).toEqual([
        'digests.gz is not the one that the manifest was written with',
      ]);
      await rm(dataDirectory(latest), { recursive: true });
      expect((await verify(target)).report.problems[0]).toContain('ENOENT');
    });

    it('is not done when the history does not have it', async () => {
      const { target } = await backUp('rsync');
      const verified = path.join(cli.environment.FSBACKUP_STATE_DIR, 'history', 'verified');
      await rename(verified, `${verified}.aside`);
      try {
        await writeFile(verified, '');
        const { exitCode, report } = await verify(target);
        expect({ exitCode, outcome: report.outcome, said: report.exitCode }).toEqual({
          exitCode: 3,
          outcome: 'ok',
          said: 3,
        });
      } finally {
        await rm(verified);
        await rename(`${verified}.aside`, verified);
      }
      expect((await verify(target)).exitCode).toBe(0);
    });
  },
);
