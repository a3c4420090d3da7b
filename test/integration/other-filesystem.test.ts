import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { isComplete, listBackups } from '../../src/copy/backup/backup-list.js';
import { pathInBackup } from '../../src/copy/source-layout.js';
import type { BackupTarget } from '../../src/backup-target.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { borgRepository, resticRepository } from '../support/repositories.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

/** A bound against hanging: commands of a loaded machine take their time. */
vi.setConfig({ testTimeout: 600_000 });

const CONTENT = { a: 'SYSTEM SLOT A', b: 'SYSTEM SLOT B' };

describeNeeding(
  ['root', 'loop', 'ext4', 'program:debugfs', 'program:rsync', 'program:restic', 'program:borg'],
  'another filesystem at the path of a source, whose files have the size, the times and the inode numbers of the last one',
  () => {
    const disks = throwawayDisks(afterAll);
    const devices: Record<string, string> = {};
    let source: string;

    beforeAll(async () => {
      source = path.join(disks.directory, 'srv');
      await mkdir(source);
      for (const [slot, content] of Object.entries(CONTENT)) {
        const tree = path.join(disks.directory, `tree-${slot}`);
        await mkdir(tree);
        await writeFile(path.join(tree, 'conf'), content);
        // What is the newest file borg does not remember.
        await writeFile(path.join(tree, 'last'), 'last');
        await must('touch', '--date=@1', path.join(tree, 'conf'));
        const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 16, mkfsArguments: ['-d', tree] });
        await must('umount', disk.mountpoint);
        await must('debugfs', '-w', '-R', 'set_inode_field /conf ctime 20250101', disk.device);
        devices[slot] = disk.device;
      }
    });

    async function whileMounted<T>(slot: keyof typeof CONTENT, work: () => Promise<T>): Promise<T> {
      await must('mount', devices[slot] ?? '', source);
      try {
        return await work();
      } finally {
        await must('umount', source);
      }
    }

    async function configured(job: string, target: object | string) {
      const directory = path.join(disks.directory, job);
      await mkdir(directory);
      const config = path.join(directory, 'config.yaml');
      const jobs = {
        [job]: { sources: [{ path: source, snapshot: 'none' }], targets: [target], attempts: 1 },
      };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const cli = new FsbackupCli(directory);
      return {
        cli,
        config,
        directory,
        run: async (slot: keyof typeof CONTENT) =>
          await whileMounted(slot, async () => await cli.runJob('--config', config)),
      };
    }

    it('is not taken for that by rsync, and what is linked to it again is', async () => {
      const target = path.join(disks.directory, 'backups');
      await mkdir(target);
      const { run } = await configured('plain', target);
      expect((await run('a')).value).toMatchObject({ exitCode: 0, warnings: [] });
      expect((await run('b')).value).toMatchObject({
        exitCode: 0,
        warnings: [
          expect.stringContaining(`${source} is another tree, or lies on another filesystem, than in`),
        ],
      });
      expect((await run('b')).value).toMatchObject({ exitCode: 0, warnings: [] });
      const files = (await listBackups(target)).filter(isComplete).map((backup) => {
        expect(backup.manifest.origins?.[0]).toMatch(/^ext4 [0-9a-f-]{36} inode 2$/);
        return path.join(dataDirectory(backup), pathInBackup(source), 'conf');
      });
      expect(await Promise.all(files.map((file) => readFile(file, 'utf8')))).toEqual([
        CONTENT.a,
        CONTENT.b,
        CONTENT.b,
      ]);
      const [first, second, third] = await Promise.all(files.map(async (file) => (await stat(file)).ino));
      expect(third).toBe(second);
      expect(second).not.toBe(first);
    });

    it.each<[string, (repository: string) => { target: BackupTarget }]>([
      ['restic', resticRepository],
      ['borg', borgRepository],
    ])('is not taken for that by %s, nor in the run after', async (engine, make) => {
      const { repository } = make(path.join(disks.directory, `${engine}-repository`)).target;
      const { run, cli, config, directory } = await configured(engine, { ...repository, engine });
      for (const slot of ['a', 'b', 'b'] as const)
        expect((await run(slot)).value).toMatchObject({ exitCode: 0, copies: [{ engine }] });
      const listed = await cli.run('backups', 'list', '--config', config, '--json');
      const { backups } = JSON.parse(listed.stdout) as { backups: { backupId: string }[] };
      const contents: string[] = [];
      for (const { backupId } of backups) {
        const to = path.join(directory, backupId);
        const restored = await cli.run('restore', `${engine}@${backupId}`, '--config', config, '--to', to);
        expect(restored).toMatchObject({ exitCode: 0 });
        contents.push(await readFile(path.join(to, pathInBackup(source), 'conf'), 'utf8'));
      }
      expect(contents).toEqual([CONTENT.a, CONTENT.b, CONTENT.b]);
    });
  },
);
