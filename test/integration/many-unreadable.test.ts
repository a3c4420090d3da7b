import { mkdir, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const LONG_MS = 240_000;
const SIZE_MIB = 256;
const FILES = 130;

describeNeeding(
  ['root', 'loop', 'btrfs', 'program:rsync'],
  'a disk of which more cannot be read than is named',
  () => {
    const disks = throwawayDisks(afterAll);
    let directory: string;
    let cli: FsbackupCli;

    beforeEach(async () => {
      directory = await mkdtemp(path.join(os.tmpdir(), 'unreadable-'));
      cli = new FsbackupCli(directory);
    });
    afterEach(() => rm(directory, { recursive: true, force: true }));

    /** Changes in the image what the filesystem has a checksum of: each such file is EIO. */
    async function spoil(image: string): Promise<void> {
      const file = await open(image, 'r+');
      try {
        const content = Buffer.alloc(SIZE_MIB * 1024 ** 2);
        await file.read(content, 0, content.length, 0);
        for (let at = content.indexOf('MARKER'); at !== -1; at = content.indexOf('MARKER', at + 1))
          await file.write('BROKEN', at);
      } finally {
        await file.close();
      }
    }

    it(
      'makes a backup that is partial and verifies, and what it has is restored',
      async () => {
        const disk = await disks.filesystem({ fstype: 'btrfs', sizeMiB: SIZE_MIB });
        const source = path.join(disk.mountpoint, 'files');
        await mkdir(source);
        for (let index = 0; index < FILES; index += 1) {
          await writeFile(path.join(source, `bad${index}`), `MARKER${'y'.repeat(8192)}`);
          await writeFile(path.join(source, `good${index}`), 'z'.repeat(8192));
        }
        await must('umount', disk.mountpoint);
        await spoil(disk.image);
        await must('blockdev', '--flushbufs', disk.device);
        await must('mount', disk.device, disk.mountpoint);

        const [target, config] = [path.join(directory, 'target'), path.join(directory, 'config.yaml')];
        await mkdir(target, { mode: 0o700 });
        const jobs = {
          srv: {
            sources: [{ path: source, snapshot: 'none' }],
            targets: [{ path: target, mustBeMountpoint: false }],
          },
        };
        await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
        const run = await cli.runJob('--config', config);
        expect([run.exitCode, run.value.error?.message]).toEqual([
          41,
          expect.stringContaining('and at least 97 more'),
        ]);

        const verified = await cli.run('backups', 'verify', 'srv', '--full', '--config', config);
        expect(verified.exitCode, verified.stdout + verified.stderr).toBe(0);
        const out = path.join(directory, 'out');
        const restored = await cli.run('restore', 'srv', '--to', out, '--config', config);
        expect(restored.exitCode, restored.stderr).toBe(3);
        expect(await readdir(path.join(out, source))).toHaveLength(FILES);
      },
      LONG_MS,
    );
  },
);
