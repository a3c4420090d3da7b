import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { beginBackup, discardIncomplete } from '../../src/copy/backup/backup-store.js';
import { withMounts } from '../../src/copy/filesystem/mounted-trees.js';
import type { Journal } from '../../src/journal/journal.js';
import { removeBackup } from '../../src/retention/remove-backup.js';
import { exists } from '../../src/system/exists.js';
import { hostLabel } from '../../src/system/host-label.js';
import { mountReadOnly } from '../../src/system/mount.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { resumeNoteOf } from '../support/resume-note.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'xfs', 'ext4', 'program:rsync', 'program:zstd'] as const;

/** What a disk of backups says, changed by whoever had it in hand: the digests that go with it go too. */
async function forge(file: string, change: (value: Record<string, unknown>) => unknown): Promise<void> {
  const {
    sha256: _sha256,
    digests: _digests,
    ...value
  } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify(change(value) ?? value));
}

describeNeeding(NEEDS, 'a disk of backups that somebody else wrote', () => {
  const disks = throwawayDisks(afterAll);
  let origin: ThrowawayFilesystem;
  let cli: FsbackupCli;
  let disk: string;
  let outside: string;
  let count = 0;

  beforeAll(async () => {
    const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 512 });
    origin = await disks.filesystem({ fstype: 'ext4', sizeMiB: 64, on: outer });
    await writeFile(path.join(origin.mountpoint, 'file'), 'content');
  });

  beforeEach(async () => {
    count += 1;
    const directory = path.join(disks.directory, `case-${count}`);
    [disk, outside] = [path.join(directory, 'disk'), path.join(directory, 'outside')];
    for (const one of [directory, disk, outside]) await mkdir(one);
    cli = new FsbackupCli(directory);
  });

  const run = async (engine = 'rsync') =>
    await cli.runJob('--job', 'srv', '--source', origin.mountpoint, '--to', disk, '--engine', engine);

  /** Backs up, and returns the directory of the backup. */
  async function backUp(engine?: string): Promise<string> {
    const { exitCode, stderr } = await run(engine);
    expect(exitCode, stderr).toBe(0);
    const names = await readdir(path.join(disk, 'srv'));
    return path.join(disk, 'srv', names.toSorted().at(-1) ?? '');
  }

  /** A file of root's that a run is made to write to, and what it has in the end. */
  async function precious(): Promise<{ file: string; read: () => Promise<string> }> {
    const file = path.join(outside, 'shadow');
    await writeFile(file, 'root', { mode: 0o600 });
    return { file, read: () => readFile(file, 'utf8') };
  }

  /** An image whose one piece is `text`, under `name`, of a filesystem of `fstype`. */
  async function forgeImage(
    backup: string,
    text: string,
    changes: { name?: string; fstype?: string },
  ): Promise<void> {
    const data = path.join(backup, 'data');
    const bytes = Buffer.alloc(4096, '#');
    bytes.write(text);
    const names = await readdir(data);
    const { name = names.find((one) => one.endsWith('.map'))?.replace(/\.map$/, '') ?? '' } = changes;
    await forge(path.join(data, 'contents.json'), (contents) => {
      const [image] = contents['images'] as object[];
      const [tree] = contents['trees'] as object[];
      const sizes = { sizeBytes: bytes.length, storedBytes: bytes.length };
      return {
        ...contents,
        images: [{ ...image, ...changes, ...sizes }],
        trees: [{ ...tree, image: name }],
      };
    });
    const digest = createHash('sha256').update(bytes).digest('hex');
    const stored = path.join(data, name);
    await writeFile(`${stored}.map`, `0 ${bytes.length} ${digest}\n`);
    await writeFile(`${stored}.chunks`, bytes);
    await must('zstd', '-q', '-f', '--rm', `${stored}.chunks`);
    await forge(path.join(backup, 'manifest.json'), (manifest) => ({ ...manifest, files: 0, bytes: 0 }));
    await rm(path.join(backup, 'digests.gz'));
  }

  it('has no program run by the type of a filesystem', async () => {
    const backup = await backUp('image');
    const proof = path.join(outside, 'proof');
    await forgeImage(backup, `#!/bin/sh\nid >${proof}\nexit 0\n`, { fstype: 'fuse.sh' });
    const drill = await cli.run('backups', 'verify', 'srv', '--drill', '--from', disk);
    const restore = await cli.run('restore', 'srv', '--from', disk, '--to', path.join(outside, 'back'));
    expect([drill.exitCode, restore.exitCode]).toEqual([1, 1]);
    expect(restore.stderr).toContain('contents.json does not tell what is in the backup');
    expect(await readdir(outside)).not.toContain('proof');
  });

  it('has nothing written outside of a restore by the name of an image', async () => {
    const backup = await backUp('image');
    await mkdir(path.join(disk, 'srv', 'outside'));
    // From the staging in `case-N/back` that is `case-N/outside`; the pieces are where it leads on the disk.
    const name = '../../outside/evil';
    await forgeImage(backup, '/var/log/wtmp { }', { name });
    const back = path.join(path.dirname(disk), 'back');
    const restore = await cli.run('restore', `srv@${path.basename(backup)}`, '--from', disk, '--to', back);
    expect([restore.exitCode, restore.stderr]).toEqual([1, expect.stringContaining('contents.json')]);
    expect(await readdir(outside)).toEqual([]);
    expect(await exists(back)).toBe(false);
  });

  it('is mounted by the kernel alone', async () => {
    const [script, proof] = [path.join(outside, 'script'), path.join(outside, 'proof')];
    await writeFile(script, `id >${proof}\nexit 0\n`);
    const at = path.join(outside, 'at');
    await mkdir(at);
    const step = { fstype: 'fuse.sh', options: 'ro', source: script, at };
    const inside = await runCommand(withMounts([step], ['true']));
    expect(inside.exitCode).not.toBe(0);
    const mount = mountReadOnly({ source: script, directory: at, fstype: 'fuse.sh', options: [] });
    await expect(mount).rejects.toMatchObject({ code: 'snapshotFailed' });
    expect(await readdir(outside)).not.toContain('proof');
  });

  it('has no run write through a symlink in what was kept of a broken-off one', async () => {
    await backUp();
    for (const name of ['digests.gz', 'digests.gz.raw']) {
      const { file, read } = await precious();
      const kept = path.join(disk, 'srv', `.incomplete-${hostLabel()}`);
      await mkdir(path.join(kept, 'data'), { recursive: true });
      await mkdir(path.join(kept, 'data+known'));
      const note = resumeNoteOf('20260101T000000Z-abcdef');
      await writeFile(path.join(kept, 'digests.gz.resume'), JSON.stringify(note));
      await symlink(file, path.join(kept, name));
      const { exitCode, stderr } = await run();
      expect(exitCode, stderr).toBe(0);
      expect(await read()).toBe('root');
      expect((await cli.run('backups', 'verify', 'srv', '--full', '--from', disk)).exitCode).toBe(0);
    }
  });

  it('has nothing wait for a FIFO in the place of a file', async () => {
    const backup = await backUp('image');
    const forged = path.join(disk, 'srv', '20260101T000000Z-abcdef');
    await mkdir(path.join(forged, 'data'), { recursive: true });
    await must('mkfifo', path.join(forged, 'manifest.json'));
    const listed = await cli.run('backups', 'list', '--from', disk);
    expect([listed.exitCode, listed.stdout]).toEqual([0, expect.stringContaining('damaged')]);
    expect((await run('image')).exitCode).toBe(0);
    const pruned = await cli.run('backups', 'prune', 'srv', '--from', disk, '--keep-last', '5');
    expect(pruned.exitCode, pruned.stderr).toBe(0);

    const data = path.join(backup, 'data');
    const chunks = (await readdir(data)).find((name) => name.endsWith('.chunks.zst')) ?? '';
    await rm(path.join(data, chunks));
    await must('mkfifo', path.join(data, chunks));
    for (const how of [[], ['--full']]) {
      const which = `srv@${path.basename(backup)}`;
      const verified = await cli.run('backups', 'verify', which, '--from', disk, ...how);
      expect(verified.exitCode).toBe(50);
      expect(`${verified.stdout}${verified.stderr}`).toContain(`${chunks} is not a regular file`);
    }
  });

  it('has no backup written to where the directory of its job leads, nor one removed there', async () => {
    await symlink(outside, path.join(disk, 'srv'));
    const made = await run();
    expect([made.exitCode, made.value.error?.message]).toEqual([
      2,
      `${path.join(disk, 'srv')} is not a directory, but a file or a symlink`,
    ]);
    expect(await readdir(outside)).toEqual([]);
    const ref = { target: disk, job: 'srv', backupId: '20260101T000000Z-abcdef' };
    await mkdir(path.join(outside, ref.backupId));
    const journal: Journal = { record: () => Promise.reject(new Error('a removal was begun')) };
    await expect(discardIncomplete(ref)).rejects.toMatchObject({ code: 'usage' });
    await expect(removeBackup(ref, journal)).rejects.toMatchObject({ code: 'usage' });
    await expect(beginBackup({ ...ref, backupId: '20260102T000000Z-abcdef' })).rejects.toMatchObject({
      code: 'copyFailed',
    });
    expect(await readdir(outside)).toEqual([ref.backupId]);
  });
});

describeNeeding(
  ['root', 'loop', 'btrfs', 'program:rsync'],
  'a disk of backups and a btrfs of the host',
  () => {
    const disks = throwawayDisks(afterAll);

    it('keeps its subvolumes, whatever a backup that is removed says', async () => {
      const { mountpoint } = await disks.filesystem({ fstype: 'btrfs', sizeMiB: 300 });
      const [source, disk] = [path.join(disks.directory, 'source'), path.join(disks.directory, 'disk')];
      for (const one of [source, disk]) await mkdir(one);
      await must('btrfs', '-q', 'subvolume', 'create', path.join(mountpoint, 'home'));
      await writeFile(path.join(mountpoint, 'home', 'file'), 'precious');
      const config = path.join(disks.directory, 'config.json');
      const jobs = { srv: { sources: [{ path: source, snapshot: 'none' }], targets: [disk] } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const cli = new FsbackupCli(disks.directory);
      expect((await cli.runJob('--config', config)).exitCode).toBe(0);
      const [backup = ''] = await readdir(path.join(disk, 'srv'));

      const backupId = '20260101T000000Z-abcdef';
      for (const name of [backupId, `.removing-${backupId}`]) {
        const forged = path.join(disk, 'srv', name);
        await mkdir(forged);
        await symlink(mountpoint, path.join(forged, 'data'));
        await copyFile(path.join(disk, 'srv', backup, 'manifest.json'), path.join(forged, 'manifest.json'));
        const completedAt = '2026-01-01T00:00:00.000Z';
        await forge(path.join(forged, 'manifest.json'), (manifest) => ({
          ...manifest,
          backupId,
          completedAt,
          engine: 'btrfs-send',
        }));
      }
      const pruned = await cli.run('backups', 'prune', 'srv', '--from', disk, '--keep-daily', '1');
      expect(pruned.exitCode).toBe(60);
      expect(`${pruned.stdout}${pruned.stderr}`).toContain('data is not a directory');
      expect(await readFile(path.join(mountpoint, 'home', 'file'), 'utf8')).toBe('precious');
    });
  },
);
