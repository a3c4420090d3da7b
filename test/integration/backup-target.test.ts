import { chmod, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { discardIncomplete } from '../../src/copy/backup/backup-store.js';
import { createBackupWriter } from '../../src/copy/backup/backup-writer.js';
import { preflightTarget, type SourceToCheck } from '../../src/copy/target/preflight-target.js';
import { rememberFilesystem } from '../../src/copy/target/target-identity.js';
import { requireRoom } from '../../src/copy/target/target-room.js';
import { readManifest } from '../../src/copy/backup/manifest.js';
import { makeUnfinished } from '../support/backups.js';
import { describeNeeding } from '../support/capabilities.js';
import { successfulReport } from '../support/run-reports.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const MIB = 1024 ** 2;

describeNeeding(['root', 'loop', 'ext4', 'btrfs', 'xfs'], 'a target on a real filesystem', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let other: ThrowawayFilesystem;
  let target: string;
  let source: string;
  let state: string;
  let count = 0;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    other = await disks.filesystem({ fstype: 'xfs' });
  });

  beforeEach(async () => {
    count += 1;
    target = path.join(disk.mountpoint, `target-${count}`);
    source = path.join(other.mountpoint, `source-${count}`);
    state = path.join(disks.directory, `state-${count}`);
    await mkdir(target);
    await mkdir(source);
  });

  async function check(
    where: string,
    sources: readonly SourceToCheck[] = [{ path: source, exclude: [] }],
    mustBeMountpoint = false,
  ): Promise<unknown> {
    return await preflightTarget({ path: where, engine: 'rsync', mustBeMountpoint }, 'srv', sources, state);
  }

  it('is accepted, and identified by the UUID of its filesystem', async () => {
    const uuid = await must('blkid', '-p', '-s', 'UUID', '-o', 'value', disk.device);
    expect(await check(target)).toEqual({ kind: 'uuid', value: uuid, fstype: 'ext4' });
    expect(await readdir(target)).toEqual([]);
  });

  it('is identified on btrfs, which has no device number of its own, and where there is no device', async () => {
    const btrfs = await disks.filesystem({ fstype: 'btrfs' });
    const uuid = await must('blkid', '-p', '-s', 'UUID', '-o', 'value', btrfs.device);
    expect(await check(btrfs.mountpoint)).toEqual({ kind: 'uuid', value: uuid, fstype: 'btrfs' });
    const memory = path.join(disks.directory, 'memory');
    await mkdir(memory);
    await must('mount', '-t', 'tmpfs', 'none', memory);
    const first = await check(memory);
    expect(first).toMatchObject({ fstype: 'tmpfs' });
    expect(await check(memory)).toEqual(first);
    await must('umount', memory);
  });

  it('is refused when it is not the filesystem it was, until the record is removed', async () => {
    const mountpoint = path.join(disks.directory, `backup-${count}`);
    await mkdir(mountpoint);
    await must('mount', '--bind', disk.mountpoint, mountpoint);
    const of = { job: 'srv', target: mountpoint };
    const identity = await preflightTarget(
      { path: mountpoint, engine: 'rsync', mustBeMountpoint: true },
      'srv',
      [],
      state,
    );
    await rememberFilesystem(of, identity, state);
    await check(mountpoint);
    await must('umount', mountpoint);

    const refusal = check(mountpoint);
    await expect(refusal).rejects.toMatchObject({ code: 'usage' });
    await expect(refusal).rejects.toThrow('is not the filesystem it was');
    // By whatever name, and for a job that has no backup there yet.
    const link = path.join(disks.directory, `link-${count}`);
    await symlink(mountpoint, link);
    const byOther = (where: string): Promise<unknown> =>
      preflightTarget({ path: where, engine: 'rsync', mustBeMountpoint: false }, 'other', [], state);
    for (const again of [() => check(link), () => byOther(mountpoint), () => byOther(link)])
      await expect(again()).rejects.toThrow('is not the filesystem it was');

    const [record] = await readdir(path.join(state, 'targets'));
    await expect(refusal).rejects.toMatchObject({ hint: expect.stringContaining(record ?? '?') as string });
    await rm(path.join(state, 'targets', record ?? '?'));
    await check(mountpoint);

    // What a job recorded itself counts, and not what others did.
    await rememberFilesystem(
      of,
      await preflightTarget({ path: mountpoint, engine: 'rsync', mustBeMountpoint: false }, 'srv', [], state),
      state,
    );
    await byOther(mountpoint);
    await rememberFilesystem({ ...of, job: 'other' }, identity, state);
    await check(mountpoint);
    await expect(byOther(mountpoint)).rejects.toThrow('is not the filesystem it was');
  });

  it('is refused when the record of what it was cannot be read', async () => {
    const identity = await preflightTarget(
      { path: target, engine: 'rsync', mustBeMountpoint: false },
      'srv',
      [],
      state,
    );
    await rememberFilesystem({ job: 'srv', target }, identity, state);
    const [record] = await readdir(path.join(state, 'targets'));
    await writeFile(path.join(state, 'targets', record ?? '?'), '{');
    await expect(check(target)).rejects.toMatchObject({ code: 'usage' });
  });

  it('is refused when it is missing, no directory, or must be a mountpoint and is none', async () => {
    await writeFile(path.join(target, 'file'), 'x');
    await expect(check(path.join(target, 'missing'))).rejects.toMatchObject({ code: 'usage' });
    await expect(check(path.join(target, 'file'))).rejects.toMatchObject({ code: 'usage' });
    await expect(check(target, [], true)).rejects.toThrow('not a mountpoint');
    await check(disk.mountpoint, [], true);
  });

  it('is refused when it is read-only', async () => {
    const readOnly = await disks.filesystem({ fstype: 'ext4' });
    await must('mount', '-o', 'remount,ro', readOnly.mountpoint);
    await expect(check(readOnly.mountpoint)).rejects.toThrow('EROFS');
  });

  describe('that overlaps with a source', () => {
    it('is refused inside of it, by another name of the directory too', async () => {
      const inside = path.join(source, 'deep', 'target');
      await mkdir(inside, { recursive: true });
      await expect(check(inside)).rejects.toThrow('lies inside the source');
      await expect(check(source)).rejects.toThrow('lies inside the source');

      const alias = path.join(disks.directory, `alias-${count}`);
      await mkdir(alias);
      await must('mount', '--bind', inside, alias);
      await expect(check(alias)).rejects.toThrow('lies inside the source');
      await must('umount', alias);
    });

    it('is taken inside of it when a pattern leaves it out, or on a disk of its own', async () => {
      const inside = path.join(source, 'deep', 'target');
      await mkdir(inside, { recursive: true });
      const accepted = { kind: 'uuid' };
      expect(await check(inside, [{ path: source, exclude: ['/deep/tar*'] }])).toMatchObject(accepted);
      expect(await check(inside, [{ path: source, exclude: ['deep/'] }])).toMatchObject(accepted);
      expect(await check(target, [{ path: '/', exclude: [] }])).toMatchObject(accepted);
    });

    it('is refused around it', async () => {
      const inside = path.join(target, 'source');
      await mkdir(inside);
      await expect(check(target, [{ path: inside, exclude: [] }])).rejects.toThrow('lies inside the target');
    });
  });

  it('is refused without room', async () => {
    const full = await disks.filesystem({ fstype: 'xfs', sizeMiB: 320 });
    await check(full.mountpoint);
    await must('bash', '-c', 'head -c 400M /dev/zero > "$1/filler" || true', 'bash', full.mountpoint);
    await expect(check(full.mountpoint)).rejects.toThrow('no room');
  });

  it('gives a writer what a run needs, from preflight to manifest', async () => {
    const writer = createBackupWriter({ stateDirectory: state });
    const planned = { path: target, engine: 'rsync', mustBeMountpoint: false } as const;
    const facts = {
      report: successfulReport(),
      files: 1,
      bytes: 1,
      tools: { rsync: '3.2.7' },
      sources: ['/srv'],
      unreadable: [],
    };
    await writer.preflight(planned, 'srv', [{ path: source, exclude: [] }]);
    const first = { target: planned, job: 'srv', backupId: '20261120T010000Z-aaaaaa' };
    const second = { target: planned, job: 'srv', backupId: '20261121T010000Z-bbbbbb' };
    const space = await writer.begin(first);
    expect(space.parentDataDirectory).toBeUndefined();
    await writer.complete(first, facts);
    expect(await readdir(path.join(state, 'targets'))).toHaveLength(1);
    expect((await writer.begin(second)).parentDataDirectory).toBe(space.dataDirectory);
    await writer.discardIncomplete(second);
    await writer.discardIncomplete(second);
    await writer.discardIncomplete(first);
    expect(await readManifest({ target, job: 'srv', backupId: first.backupId })).toMatchObject({
      state: 'complete',
      manifest: { sources: ['/srv'], engine: 'rsync' },
    });
  });

  it('keeps an incomplete backup in which something is mounted', async () => {
    const ref = { target, job: 'srv', backupId: '20261120T010000Z-aaaaaa' };
    await makeUnfinished(ref);
    const mountpoint = path.join(dataDirectory(ref), 'mounted');
    await mkdir(mountpoint);
    await must('mount', '--bind', source, mountpoint);
    await writeFile(path.join(source, 'precious'), 'precious');
    await chmod(source, 0o755);
    await expect(discardIncomplete(ref)).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    expect(await readFile(path.join(dataDirectory(ref), 'half'), 'utf8')).toBe('half');
    await must('umount', mountpoint);
    expect(await discardIncomplete(ref)).toBe('removed');
    expect(await readdir(source)).toEqual(['precious']);
  });
});

describe('room for a backup', () => {
  const facts = {
    target: '/backup',
    engine: 'tar',
    totalBytes: 1000 * MIB,
    lastArchiveBytes: undefined,
  } as const;

  it('is refused under 1 %, and for tar under half of the last archive', () => {
    expect(() => requireRoom({ ...facts, freeBytes: 9 * MIB })).toThrow('less than 1 %');
    expect(() => requireRoom({ ...facts, freeBytes: 49 * MIB, lastArchiveBytes: 100 * MIB })).toThrow(
      '100 MiB',
    );
  });

  it('is granted otherwise: what rsync needs is not known before', () => {
    requireRoom({ ...facts, freeBytes: 10 * MIB });
    requireRoom({ ...facts, freeBytes: 50 * MIB, lastArchiveBytes: 100 * MIB });
    const granted = { ...facts, engine: 'rsync', freeBytes: 11 * MIB, lastArchiveBytes: 100 * MIB } as const;
    expect(() => requireRoom(granted)).not.toThrow();
  });
});
