import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { writeRandom } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { secretFile } from '../support/repositories.js';
import { flipMarker } from '../support/send-worlds.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'btrfs', 'xfs', 'ext4', 'program:btrfs', 'program:zstd'] as const;
const LONG_MS = 240_000;

describeNeeding([...NEEDS, 'program:restic'], 'backups verify --full, just after the run', () => {
  const disks = throwawayDisks(afterAll);

  async function origin(engine: string): Promise<ThrowawayFilesystem> {
    if (engine === 'btrfs-send') return await disks.filesystem({ fstype: 'btrfs', name: `origin-${engine}` });
    const on = await disks.filesystem({ fstype: 'xfs', sizeMiB: 512, name: `pool-${engine}` });
    return await disks.filesystem({ fstype: 'ext4', sizeMiB: 64, on, name: `origin-${engine}` });
  }

  /** The largest file below a directory. */
  async function largestIn(directory: string): Promise<string> {
    const found = await must('find', directory, '-type', 'f', '-printf', String.raw`%s %p\n`);
    const files = found.trimEnd().split('\n');
    const [largest = ''] = files.toSorted((a, b) => Number.parseInt(b, 10) - Number.parseInt(a, 10));
    return largest.replace(/^\d+ /, '');
  }

  /** Changes it on the disk below, and not in memory, where the kernel has it as it was written. */
  async function changeOnDisk(file: string, { image }: ThrowawayFilesystem): Promise<void> {
    const content = await readFile(file);
    const at = Math.floor(content.length / 2);
    await flipMarker(image, content.subarray(at, at + 48));
    expect((await readFile(file)).equals(content)).toBe(true);
  }

  it.each(['btrfs-send', 'image', 'rsync', 'tar', 'restic'] as const)(
    'finds what the disk has of a backup by %s, and not what memory has',
    async (engine) => {
      const { mountpoint } = await origin(engine);
      const target = await disks.filesystem({ fstype: 'ext4', sizeMiB: 256, name: `target-${engine}` });
      await writeRandom(path.join(mountpoint, 'large'), 8);
      await writeFile(path.join(mountpoint, 'file'), 'content');
      const backups = path.join(target.mountpoint, 'backups');
      await mkdir(backups, { mode: 0o700 });
      const host = path.join(disks.directory, `host-${engine}`);
      const password = { file: secretFile(path.join(host, 'keys', 'restic'), 'correct-horse') };
      const to =
        engine === 'restic'
          ? { engine, repository: backups, initialise: true, password }
          : { engine, path: backups };
      const config = path.join(host, 'config.yaml');
      const jobs = { srv: { sources: [{ path: mountpoint }], targets: [to] } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const cli = new FsbackupCli(host);
      const made = await cli.runJob('srv', '--config', config);
      expect(made.exitCode, made.stderr).toBe(0);
      const verify = ['backups', 'verify', 'srv', '--full', '--config', config] as const;
      const good = await cli.run(...verify);
      expect(good.exitCode, good.stdout + good.stderr).toBe(0);

      await changeOnDisk(await largestIn(backups), target);

      const verified = await cli.run(...verify);
      expect(verified.exitCode, verified.stdout + verified.stderr).toBe(50);
      await must('sync', '--file-system', target.mountpoint);
    },
    LONG_MS,
  );
});
