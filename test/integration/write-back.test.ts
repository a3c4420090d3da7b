import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { restoringTo } from '../../src/copy/restore/written-filesystems.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { HeldFilesystem } from '../../src/system/held-filesystem.js';
import { runCommand } from '../../src/system/run-command.js';
import { badDisk, type BadDisk } from '../support/bad-disk.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { copyRequest, writeRandom } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

/** A bound against hanging for ever. */
const LONG_MS = 400_000;
/** More than can be written beside the bad blocks. */
const SOURCE_MIB = 70;

const PROGRAMS = ['rsync', 'tar', 'zstd', 'btrfs', 'fallocate'] as const;

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'btrfs', ...PROGRAMS.map((name) => `program:${name}` as const)],
  'what a disk says only once it is written back',
  () => {
    const disks = throwawayDisks(afterAll);
    let bad: BadDisk;
    let count = 0;
    let files: string;
    let sources: Record<'rsync' | 'tar' | 'btrfs-send' | 'image', object>;
    let cli: FsbackupCli;

    beforeAll(async () => {
      cli = new FsbackupCli(disks.directory);
      files = path.join(disks.directory, 'source');
      await mkdir(files);
      const btrfs = await disks.filesystem({ fstype: 'btrfs', name: 'btrfs-origin' });
      const on = await disks.filesystem({ fstype: 'xfs', name: 'outer' });
      const image = await disks.filesystem({ fstype: 'ext4', sizeMiB: 128, on, name: 'image-origin' });
      for (const directory of [files, btrfs.mountpoint, image.mountpoint])
        await writeRandom(path.join(directory, 'large'), SOURCE_MIB);
      const live = { path: files, snapshot: 'none' };
      sources = {
        rsync: live,
        tar: live,
        'btrfs-send': { path: btrfs.mountpoint },
        image: { path: image.mountpoint },
      };
    }, LONG_MS);

    beforeEach(async () => {
      count += 1;
      bad = await badDisk(disks, `bad-${count}`);
    });
    afterEach(() => bad.remove());

    /** Somebody else asks all the time what was lost, and hears of it first. */
    async function whileOthersAsk<T>(work: Promise<T>): Promise<T> {
      const asking = { isOver: false };
      const over = work.finally(() => {
        asking.isOver = true;
      });
      while (!asking.isOver) await runCommand(['sync', '--file-system', '--', bad.mountpoint]);
      return await over;
    }

    async function configOf(
      name: string,
      source: object,
      engine: keyof typeof sources,
      directory: string,
    ): Promise<string> {
      const config = path.join(disks.directory, `${name}.yaml`);
      const jobs = { [name]: { sources: [source], targets: [{ path: directory, engine }] } };
      await mkdir(directory, { mode: 0o700 });
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      return config;
    }

    it('is told to whoever held the filesystem, once, though another was told first', async () => {
      const held = await HeldFilesystem.open(bad.mountpoint);
      try {
        await held.sync();
        await writeRandom(path.join(bad.mountpoint, 'large'), SOURCE_MIB);
        const sync = ['sync', '--file-system', '--', bad.mountpoint] as const;
        expect((await runCommand(sync)).exitCode).toBe(1);
        expect((await runCommand(sync)).exitCode).toBe(0);
        await expect(held.sync()).rejects.toMatchObject({ syscall: 'syncfs' });
        await held.sync();
      } finally {
        await held.close();
      }
    });

    it.each(['rsync', 'tar', 'btrfs-send', 'image'] as const)(
      'makes no backup by %s of what is lost, whoever was told',
      async (engine) => {
        const name = `to-${engine}`;
        const config = await configOf(name, sources[engine], engine, path.join(bad.mountpoint, name));
        const { exitCode, stderr } = await whileOthersAsk(cli.run('run', '--config', config));
        expect(exitCode, stderr).toBe(40);
        // Or it was told by ext4 already, which writes the content of other files before an fsynced one is named.
        expect(stderr).toMatch(/the copy may not be on disk|the copy failed: (?:ENOSPC|EIO): .*, fsync/);
        const { stdout } = await cli.run('backups', 'list', '--config', config, '--json');
        expect(JSON.parse(stdout)).toMatchObject({ backups: [] });
        expect(await cli.journalEntries()).toEqual([]);
      },
      LONG_MS,
    );

    it.each(['rsync', 'tar'] as const)(
      'calls nothing of it restored that was made by %s, whoever was told',
      async (engine) => {
        const name = `from-${engine}`;
        const config = await configOf(name, sources[engine], engine, path.join(disks.directory, name));
        expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
        const to = path.join(bad.mountpoint, name);
        const restored = cli.run('restore', name, '--config', config, '--to', to);
        const { exitCode, stderr } = await whileOthersAsk(restored);
        expect(exitCode, stderr).toBe(40);
        expect(stderr).toContain('what was restored may not be on disk');
      },
      LONG_MS,
    );

    it(
      'calls nothing of it restored in place',
      async () => {
        await bad.mend();
        const source = path.join(bad.mountpoint, 'source');
        await mkdir(source, { mode: 0o700 });
        await writeRandom(path.join(source, 'large'), SOURCE_MIB);
        const live = { path: source, snapshot: 'none' };
        const config = await configOf('in-place', live, 'rsync', path.join(disks.directory, 'in-place'));
        expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
        await must('rm', path.join(source, 'large'));
        await must('sync', '--file-system', bad.mountpoint);
        await bad.spoil();
        const restored = cli.run('restore', 'in-place', '--config', config, '--in-place', '--force');
        const { exitCode, stderr } = await whileOthersAsk(restored);
        expect(exitCode, stderr).toBe(40);
        expect(stderr).toContain('what was restored may not be on disk');
      },
      LONG_MS,
    );

    it('is not asked of what is no directory, where nothing can be restored to', async () => {
      const [socket, place] = ['socket', 'place'].map((name) => path.join(disks.directory, name));
      const server = createServer().listen(socket);
      try {
        await writeFile(place ?? '', '');
        await must('mount', '--bind', socket ?? '', place ?? '');
        expect(await restoringTo([place ?? '', files], () => Promise.resolve('restored'))).toBe('restored');
      } finally {
        server.close();
      }
    });

    it(
      'is not known of a filesystem that was put in the place of the one that is held',
      async () => {
        const [one, other] = [
          await disks.filesystem({ fstype: 'ext4', name: 'one' }),
          await disks.filesystem({ fstype: 'ext4', name: 'other' }),
        ];
        const held = await HeldFilesystem.open(one.mountpoint);
        try {
          await held.sync();
          await must('umount', '--lazy', one.mountpoint);
          await must('mount', one.device, one.mountpoint);
          await held.sync();
          await must('mount', '--bind', other.mountpoint, one.mountpoint);
          await expect(held.sync()).rejects.toThrow(`another filesystem is at ${one.mountpoint}`);
        } finally {
          await held.close();
        }
      },
      LONG_MS,
    );

    it(
      'goes on with nothing that was lost of a run that is dead, whoever was told',
      async () => {
        const data = path.join(bad.mountpoint, 'backup', 'data');
        await mkdir(data, { recursive: true, mode: 0o700 });
        const request = copyRequest([{ path: '/srv', readFrom: files, exclude: [] }], data, {
          digests: { file: path.join(path.dirname(data), 'digests.gz'), parent: undefined },
        });
        const dying = createRsyncEngine(async (argv, options) => {
          const result = await runCommand(argv, options);
          return argv.includes(`${files}/`) ? { ...result, exitCode: undefined, signal: 'SIGKILL' } : result;
        });
        await expect(dying.copy(request)).rejects.toMatchObject({ code: 'copyFailed' });
        const told = await runCommand(['sync', '--file-system', '--', bad.mountpoint]);
        expect(told.exitCode, 'the disk has lost something').toBe(1);
        await bad.mend();
        await createRsyncEngine().copy(request);
        await bad.remount();
        expect(await compareTrees(files, path.join(data, 'srv'))).toEqual([]);
      },
      LONG_MS,
    );
  },
);
