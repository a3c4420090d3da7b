import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import { describeNeeding } from '../support/capabilities.js';
import { writeRandom } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { flipMarker } from '../support/send-worlds.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'btrfs', 'xfs', 'ext4', 'program:btrfs', 'program:zstd'] as const;

describeNeeding(NEEDS, 'backups verify, just after the run', () => {
  const disks = throwawayDisks(afterAll);

  it.each(['btrfs-send', 'image'] as const)(
    'finds what the disk has of a backup by %s, and not what memory has',
    async (engine) => {
      const pool = await disks.filesystem({ fstype: 'xfs', sizeMiB: 512, name: `pool-${engine}` });
      const origin = await disks.filesystem(
        engine === 'image'
          ? { fstype: 'ext4', sizeMiB: 64, on: pool, name: `origin-${engine}` }
          : { fstype: 'btrfs', name: `origin-${engine}` },
      );
      const target = await disks.filesystem({ fstype: 'ext4', sizeMiB: 256, name: `target-${engine}` });
      await writeRandom(path.join(origin.mountpoint, 'large'), 8);
      await writeFile(path.join(origin.mountpoint, 'file'), 'content');
      const backups = path.join(target.mountpoint, 'backups');
      await mkdir(backups, { mode: 0o700 });
      const cli = new FsbackupCli(path.join(disks.directory, `host-${engine}`));
      const what = ['--job', 'srv', '--source', origin.mountpoint] as const;
      const made = await cli.runJob(...what, '--to', backups, '--engine', engine);
      expect(made.exitCode, made.stderr).toBe(0);
      const [backup] = await listBackups(backups);
      if (backup === undefined) throw new Error('there is no backup');
      const data = dataDirectory(backup);
      const packed = (await readdir(data)).find((name) => name.endsWith('.zst')) ?? '';
      const content = await readFile(path.join(data, packed));
      const at = Math.floor(content.length / 2);
      await flipMarker(target.image, content.subarray(at, at + 48));
      // The kernel has the file as it was written.
      expect((await readFile(path.join(data, packed))).equals(content)).toBe(true);

      const verified = await cli.run('backups', 'verify', 'srv', '--full', '--from', backups);
      expect(verified.exitCode, verified.stdout + verified.stderr).toBe(50);
      await must('sync', '--file-system', target.mountpoint);
    },
  );
});
