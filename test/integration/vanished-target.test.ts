import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { listBackups } from '../../src/copy/backup-list.js';
import { describeNeeding } from '../support/capabilities.js';
import { writeRandom } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'btrfs',
  'xfs',
  'ext4',
  'program:btrfs',
  'program:zstd',
  'program:xfs_io',
] as const;

describeNeeding(NEEDS, 'a target that vanishes while it is copied to', () => {
  const disks = throwawayDisks(afterAll);

  it.each(['rsync', 'tar', 'btrfs-send', 'image'] as const)(
    'fails by %s, is nowhere listed, and is made whole by the next run',
    async (engine) => {
      const on = await disks.filesystem({ fstype: 'xfs', sizeMiB: 768, name: `outer-${engine}` });
      const source =
        engine === 'image'
          ? await disks.filesystem({ fstype: 'ext4', sizeMiB: 256, on, name: 'in-a-file' })
          : await disks.filesystem({ fstype: 'btrfs', name: `origin-${engine}` });
      await writeRandom(path.join(source.mountpoint, 'large'), 96);
      const target = await disks.filesystem({ fstype: 'xfs', name: `target-${engine}` });
      const directory = path.join(disks.directory, engine);
      await mkdir(directory);
      const cli = new FsbackupCli(directory);
      const file = path.join(directory, 'config.yaml');
      const targets = [{ path: target.mountpoint, engine }];
      const jobs = { srv: { sources: [source.mountpoint], targets } };
      await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });

      const started = cli.start('run', 'srv', '--config', file, '--json');
      await cli.journalled('backup', started);
      // All that is asked of it from then on is answered by EIO, as of a disk that was pulled out.
      await must('xfs_io', '-x', '-c', 'shutdown', target.mountpoint);
      expect(await started.ended(), started.output).toBe(40);
      expect(started.output).toContain('"code": "copyFailed"');
      await must('umount', target.mountpoint);
      await must('mount', target.device, target.mountpoint);
      const complete = async () =>
        (await listBackups(target.mountpoint))
          .map(({ state }) => state)
          .filter((state) => state === 'complete');
      expect(await complete()).toEqual([]);
      const again = await cli.runJob('srv', '--config', file);
      expect(again.exitCode, again.stderr).toBe(0);
      expect(await complete()).toHaveLength(1);
      expect(await cli.journalEntries()).toEqual([]);
    },
  );
});
