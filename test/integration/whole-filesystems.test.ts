import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RestoreReport } from '../../src/copy/restore/restore-backup.js';
import type { VerifyReport } from '../../src/copy/verify/verify-backup.js';
import type { EngineName } from '../../src/engine-names.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'btrfs', 'ext4', 'xfs', 'program:zstd', 'program:rsync'] as const;

interface World {
  engine: EngineName;
  /** Of the source. */
  fstype: 'ext4' | 'xfs' | 'btrfs';
  /** Of the target. */
  to: 'ext4' | 'btrfs';
}

const IMAGES: World[] = [
  { engine: 'image', fstype: 'ext4', to: 'ext4' },
  { engine: 'image', fstype: 'xfs', to: 'ext4' },
];
const WORLDS: World[] = [
  { engine: 'btrfs-send', fstype: 'btrfs', to: 'btrfs' },
  { engine: 'btrfs-send', fstype: 'btrfs', to: 'ext4' },
  ...IMAGES,
];

/** A filesystem with some files, a place for its backups, and one for restores. */
class WholeFilesystem {
  readonly cli: FsbackupCli;
  readonly origin: ThrowawayFilesystem;
  readonly target: string;
  readonly room: string;
  readonly #engine: EngineName;

  constructor(
    engine: EngineName,
    origin: ThrowawayFilesystem,
    at: { target: string; room: string; host: string },
  ) {
    this.#engine = engine;
    this.origin = origin;
    this.target = at.target;
    this.room = at.room;
    this.cli = new FsbackupCli(at.host);
  }

  async run(): Promise<{ exitCode: unknown; stderr: string }> {
    const what = ['--job', 'srv', '--source', this.origin.mountpoint, '--to', this.target];
    return await this.cli.runJob(...what, '--engine', this.#engine);
  }

  async drill(): Promise<{ exitCode: unknown; report: VerifyReport }> {
    const args = ['srv', '--from', this.target, '--drill', '--drill-directory', this.room, '--json'];
    const { exitCode, stdout, stderr } = await this.cli.run('backups', 'verify', ...args);
    const [report] = (JSON.parse(stdout) as { verified: VerifyReport[] }).verified;
    if (report === undefined) throw new Error(stderr);
    return { exitCode, report };
  }

  /** What is in the place for restores. */
  async inRoom(): Promise<string[]> {
    return (await readdir(this.room)).filter((name) => name !== 'lost+found');
  }
}

/** Made before the first test. */
function wholeFilesystem({ engine, fstype, to }: World): () => WholeFilesystem {
  const disks = throwawayDisks(afterAll);
  let made: WholeFilesystem | undefined;
  beforeAll(async () => {
    const on =
      engine === 'image'
        ? { on: await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 }), sizeMiB: 400 }
        : {};
    const origin = await disks.filesystem({ fstype, ...on });
    await mkdir(path.join(origin.mountpoint, 'etc/deep'), { recursive: true });
    for (const name of ['etc/one.conf', 'etc/deep/two.conf', 'etc/other'])
      await writeFile(path.join(origin.mountpoint, name), `content of ${name}`);
    made = new WholeFilesystem(engine, origin, {
      target: (await disks.filesystem({ fstype: to, sizeMiB: 512 })).mountpoint,
      room: (await disks.filesystem({ fstype: 'ext4', sizeMiB: 2048 })).mountpoint,
      host: path.join(disks.directory, 'host'),
    });
    const { exitCode, stderr } = await made.run();
    if (exitCode !== 0) throw new Error(stderr);
  });
  return () => {
    if (made === undefined) throw new Error('there is no filesystem');
    return made;
  };
}

describeNeeding([...NEEDS, 'program:btrfs'], 'backups of whole filesystems', () => {
  describe.each(WORLDS)('by $engine, of $fstype to $to', (which) => {
    const world = wholeFilesystem(which);

    it('pass a drill, one full backup and the next', async () => {
      const { origin, target, cli } = world();
      const first = await world().drill();
      expect(first.report.problems).toEqual([]);
      expect([first.exitCode, first.report.outcome]).toEqual([0, 'ok']);
      expect(first.report.files).toBe(3);
      expect(first.report.drill).toMatchObject({ restoredFiles: 3, leftBehind: null });
      await writeFile(path.join(origin.mountpoint, 'etc', 'later'), 'later');
      expect((await world().run()).exitCode).toBe(0);
      const second = await world().drill();
      expect(second.report).toMatchObject({ changed: { paths: [] }, missing: { paths: [] }, problems: [] });
      expect([second.exitCode, second.report.outcome, second.report.files]).toEqual([0, 'ok', 4]);
      expect(await world().inRoom()).toEqual([]);
      expect((await cli.run('backups', 'list', '--from', target)).stdout).toMatch(/drill ok/);
    });

    it('are restored by patterns, and nothing of them by one that matches nothing', async () => {
      const { origin, target, cli, room } = world();
      const from = ['restore', 'srv', '--from', target, '--json', '--to'];
      const out = path.join(room, 'some');
      const { exitCode, stdout, stderr } = await cli.run(...from, out, '*.conf');
      expect(exitCode, stderr).toBe(0);
      const report = JSON.parse(stdout) as RestoreReport;
      expect(report).toMatchObject({ matched: 2, files: 2, paths: ['*.conf'], outcome: 'success' });
      const restored = path.join(out, origin.mountpoint, 'etc');
      expect((await readdir(restored)).toSorted()).toEqual(['deep', 'one.conf']);
      const two = await readFile(path.join(restored, 'deep', 'two.conf'), 'utf8');
      expect(two).toBe('content of etc/deep/two.conf');
      const nowhere = path.join(room, 'none');
      const none = await cli.run(...from, nowhere, '*.conf', '*.none');
      expect([none.exitCode, none.stderr]).toEqual([2, expect.stringContaining('matches *.none')]);
      const foreign = await cli.run(...from, nowhere, '/elsewhere', '*.conf');
      expect([foreign.exitCode, foreign.stderr]).toEqual([2, expect.stringContaining('/elsewhere')]);
      expect(await world().inRoom()).toEqual(['some']);
    });
  });

  describe.each(WORLDS.slice(0, 2))('received from $fstype by $to', (which) => {
    const world = wholeFilesystem(which);

    it('are not mounted, for a reason that is true, and where they lie is told', async () => {
      const { target, cli, origin, room } = world();
      const { exitCode, stderr } = await cli.run(
        'backups',
        'mount',
        'srv',
        path.join(room, 'mnt'),
        '--from',
        target,
      );
      expect(exitCode).toBe(2);
      const said = stderr.replaceAll(/\s+/g, ' ');
      const [, at = ''] = new RegExp(`${origin.mountpoint} at (\\S+?)\\. `).exec(said) ?? [];
      expect(said.includes('is packed')).toBe(which.to === 'ext4');
      // Of a stream there is no such place.
      const seen = at === '' ? undefined : await readFile(path.join(at, 'etc', 'other'), 'utf8');
      expect(seen).toBe(which.to === 'btrfs' ? 'content of etc/other' : undefined);
      expect(await world().inRoom()).toEqual([]);
    });
  });

  describe.each(IMAGES)('as an image of $fstype', (which) => {
    const world = wholeFilesystem(which);

    it('fail a drill when fsck finds damage', async () => {
      const { origin } = world();
      const directory = path.join(origin.mountpoint, 'etc');
      // Too many names are counted for a directory of the live filesystem, which no mount notices.
      const { ino } = await stat(directory);
      await must('umount', origin.mountpoint);
      await (which.fstype === 'ext4'
        ? must('debugfs', '-w', '-R', `set_inode_field <${ino}> links_count 7`, origin.device)
        : must('xfs_db', '-x', '-c', `inode ${ino}`, '-c', 'write core.nlinkv2 7', origin.device));
      await must('mount', origin.device, origin.mountpoint);
      expect((await world().run()).exitCode).toBe(0);
      const { exitCode, report } = await world().drill();
      expect([exitCode, report.outcome]).toEqual([50, 'failed']);
      expect(report.problems.join()).toMatch(/in its image is damaged/);
      expect(await world().inRoom()).toEqual([]);
    });
  });
});
