import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { dataDirectory, type BackupRef } from '../../src/copy/backup/backup-layout.js';
import { beginBackup, completeBackup } from '../../src/copy/backup/backup-store.js';
import { engineFor } from '../../src/copy/engines.js';
import Restore from '../../src/commands/restore.js';
import { manifestFor } from '../support/backups.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { runCommandClass } from '../support/run-command-class.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'ext4',
  'program:rsync',
  'program:tar',
  'program:zstd',
  'program:setfacl',
] as const;
const BACKUP_IDS = { rsync: '20261120T010000Z-aaaaaa', tar: '20261121T010000Z-bbbbbb' };

describeNeeding(NEEDS, 'fsbackup restore', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let original: string;
  let target: string;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    original = path.join(disk.mountpoint, 'original');
    target = path.join(disk.mountpoint, 'target');
    await mkdir(path.join(original, 'directory'), { recursive: true });
    await mkdir(target);
    await writeFile(path.join(original, 'file'), 'file');
    await writeFile(path.join(original, 'directory', 'other'), 'other');
    await must('setfacl', '-m', 'u:54321:rw', path.join(original, 'file'));
    for (const name of ['rsync', 'tar'] as const) await backUp(name);
  });

  async function backUp(name: 'rsync' | 'tar'): Promise<void> {
    const ref: BackupRef = { target, job: 'srv', backupId: BACKUP_IDS[name] };
    await beginBackup(ref);
    const { files, bytes } = await engineFor({ engine: name, path: '/unused' }).copy({
      sources: [{ path: '/srv', readFrom: original, exclude: [] }],
      dataDirectory: dataDirectory(ref),
      backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
      parentDataDirectory: undefined,
      signal: new AbortController().signal,
      onProgress: () => undefined,
    });
    await completeBackup(ref, manifestFor(ref, { engine: name, files, bytes }));
  }

  for (const name of ['rsync', 'tar'] as const) {
    const backup = `srv@${BACKUP_IDS[name]}`;

    it(`restores a ${name} backup whole, and says so`, async () => {
      const to = path.join(disk.mountpoint, `whole-${name}`);
      const { exitCode, stdout } = await runCommandClass(Restore, [backup, '--from', target, '--to', to]);
      expect(exitCode).toBe(0);
      expect(stdout).toContain(`Restored 2 files, 9 B of ${backup} to ${to}`);
      expect(stdout).toContain(`From ${target} by ${name}, completed `);
      expect(await compareTrees(original, path.join(to, 'srv'))).toEqual([]);
    });

    it(`restores paths of a ${name} backup, tells what it could not, and exits 41`, async () => {
      const to = path.join(disk.mountpoint, `paths-${name}`);
      const paths = ['/srv/directory', '/srv/missing'];
      const run = await runCommandClass(Restore, [backup, '--from', target, '--to', to, '--json', ...paths]);
      expect(run.exitCode).toBe(41);
      expect(JSON.parse(run.stdout)).toMatchObject({
        outcome: 'partial',
        exitCode: 41,
        files: 1,
        notRestored: ['/srv/missing'],
      });
      expect(await readdir(path.join(to, 'srv'))).toEqual(['directory']);
    });

    it(`takes a directory that is not empty by --force alone, from a ${name} backup`, async () => {
      const to = path.join(disk.mountpoint, `forced-${name}`);
      await mkdir(path.join(to, 'srv'), { recursive: true });
      await writeFile(path.join(to, 'srv', 'precious'), 'precious');
      await writeFile(path.join(to, 'srv', 'file'), 'older');
      const args = [backup, '--from', target, '--to', to];
      const refused = await runCommandClass(Restore, args);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr.trim().split('\n')).toHaveLength(2);
      expect(await readFile(path.join(to, 'srv', 'file'), 'utf8')).toBe('older');
      expect((await runCommandClass(Restore, [...args, '--force'])).exitCode).toBe(0);
      expect(await readFile(path.join(to, 'srv', 'file'), 'utf8')).toBe('file');
      expect(await readFile(path.join(to, 'srv', 'precious'), 'utf8')).toBe('precious');
    });
  }

  it('fails for an archive that is damaged', async () => {
    const ref = { target, job: 'damaged', backupId: '20261122T010000Z-cccccc' };
    await beginBackup(ref);
    await must(
      'bash',
      '-c',
      'head -c 200 "$1" > "$2"',
      'bash',
      `${target}/srv/${BACKUP_IDS.tar}/data/data.tar.zst`,
      `${dataDirectory(ref)}/data.tar.zst`,
    );
    await completeBackup(ref, manifestFor(ref, { engine: 'tar' }));
    const to = path.join(disk.mountpoint, 'from-damaged');
    const { exitCode, stderr } = await runCommandClass(Restore, ['damaged', '--from', target, '--to', to]);
    expect(exitCode).toBe(40);
    expect(stderr).toContain('Error: the restore failed: tar');
  });

  it('fails when the destination is full', async () => {
    const small = await disks.filesystem({ fstype: 'ext4', sizeMiB: 8 });
    await must('dd', 'if=/dev/urandom', `of=${original}/large`, 'bs=1M', 'count=12', 'status=none');
    for (const [name, id] of [
      ['rsync', '20261123T010000Z-dddddd'],
      ['tar', '20261124T010000Z-eeeeee'],
    ] as const) {
      BACKUP_IDS[name] = id;
      await backUp(name);
      const run = await runCommandClass(Restore, [
        `srv@${id}`,
        '--from',
        target,
        '--to',
        `${small.mountpoint}/${name}`,
      ]);
      expect(run.exitCode).toBe(40);
      expect(run.stderr).toMatch(/No space left|Wrote only/);
      expect(run.stderr).toContain('Make room');
      expect(run.stderr).toContain(`${small.mountpoint}/${name}: add --force`);
      expect(run.stderr).not.toContain('the copy');
    }
  });

  it('refuses a tar backup into a directory whose default ACL it would inherit', async () => {
    const to = path.join(disk.mountpoint, 'acl');
    await mkdir(to);
    await must('setfacl', '-d', '-m', 'u:33:rwx', to);
    const args = ['--from', target, '--to', to];
    const refused = await runCommandClass(Restore, ['srv@20261121', ...args]);
    expect([refused.exitCode, await readdir(to)]).toEqual([2, []]);
    expect((await runCommandClass(Restore, ['srv@20261120', ...args])).exitCode).toBe(0);
    expect(await must('getfacl', '-n', '--omit-header', path.join(to, 'srv', 'directory'))).not.toContain(
      ':33:',
    );
  });
});
