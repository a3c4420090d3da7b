import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import { createBtrfsSendEngine } from '../../src/copy/btrfs/btrfs-send-engine.js';
import { readSubvolume } from '../../src/system/btrfs-subvolume.js';
import { describeNeeding } from '../support/capabilities.js';
import { LONG_MS, restoreRequest, verifyWith } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { setReadOnly } from '../support/subvolume-flags.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'btrfs', 'ext4', 'program:btrfs', 'program:zstd', 'program:perl'] as const;

describeNeeding(NEEDS, 'btrfs-send of what several subvolumes are called by', () => {
  const disks = throwawayDisks(afterAll);
  let origin: ThrowawayFilesystem;
  let live: string;
  let directory: string;
  let cli: FsbackupCli;
  let count = 0;

  beforeEach(async () => {
    count += 1;
    directory = path.join(disks.directory, `host-${count}`);
    await mkdir(directory, { mode: 0o700 });
    origin = await disks.filesystem({ fstype: 'btrfs', name: `origin-${count}` });
    live = path.join(origin.mountpoint, 'live');
    await must('btrfs', 'subvolume', 'create', live);
    await writeFile(path.join(live, 'first'), 'first');
    cli = new FsbackupCli(directory);
  });

  /** As after a restore by hand: it is received, and then made writable by a btrfs-progs that leaves it its received UUID. */
  async function makeReceived(): Promise<void> {
    const [sent, stream] = [path.join(origin.mountpoint, 'sent'), path.join(directory, 'stream')];
    await must('btrfs', 'subvolume', 'snapshot', '-r', live, sent);
    await must('btrfs', 'send', '-q', '-f', stream, sent);
    await must('btrfs', 'subvolume', 'delete', live);
    const into = path.join(origin.mountpoint, 'into');
    await mkdir(into);
    await must('btrfs', 'receive', '-q', '-f', stream, into);
    await setReadOnly(path.join(into, 'sent'), false);
    await must('mv', '-T', path.join(into, 'sent'), live);
    await must('btrfs', 'subvolume', 'delete', sent);
    expect(await readSubvolume(live)).toMatchObject({ isReadOnly: false, receivedUuid: expect.any(String) });
  }

  async function run(target: string) {
    const to = ['--to', target, '--engine', 'btrfs-send'];
    return await cli.runJob('--job', 'srv', '--source', live, ...to);
  }

  async function makeTarget(fstype: 'btrfs' | 'ext4'): Promise<string> {
    const { mountpoint } = await disks.filesystem({ fstype, name: `target-${count}` });
    const target = path.join(mountpoint, 'backups');
    await mkdir(target, { mode: 0o700 });
    return target;
  }

  async function received(target: string): Promise<{ data: string; subvolume: string }> {
    const [backup] = await listBackups(target);
    if (backup === undefined) throw new Error('there is no backup');
    const data = dataDirectory(backup);
    const name = (await readdir(data)).find((one) => one.startsWith('fsbackup-')) ?? '';
    return { data, subvolume: path.join(data, name) };
  }

  it.each(['btrfs', 'ext4'] as const)(
    'is whole in each backup on %s, of a subvolume that was received once and is written to',
    async (fstype) => {
      await makeReceived();
      const target = await makeTarget(fstype);
      for (const round of ['a', 'b', 'c', 'd']) {
        await writeFile(path.join(live, `of-${round}`), round);
        if (round === 'c') await rm(path.join(live, 'of-a'));
        const { exitCode, value, stderr } = await run(target);
        expect(exitCode, stderr).toBe(round === 'a' ? 0 : 3);
        expect(value.warnings.join().includes('is a full one')).toBe(round !== 'a');
      }
      const out = path.join(directory, 'out');
      const restored = await cli.run('restore', 'srv', '--from', target, '--to', out);
      expect(restored.exitCode, restored.stderr).toBe(0);
      expect((await readdir(path.join(out, live))).toSorted()).toEqual(['first', 'of-b', 'of-c', 'of-d']);
    },
    LONG_MS,
  );

  it('makes a full backup where another subvolume was taken for the parent', async () => {
    const target = await makeTarget('btrfs');
    await run(target);
    // Received alike, older, and another thing by now.
    const [{ subvolume }, other] = [await received(target), path.join(target, 'other')];
    await must('btrfs', 'subvolume', 'snapshot', '-r', subvolume, other);
    await must('btrfs', 'subvolume', 'delete', subvolume);
    await must('btrfs', 'subvolume', 'snapshot', '-r', other, subvolume);
    await setReadOnly(other, false);
    await rm(path.join(other, 'first'));
    await setReadOnly(other, true);

    await writeFile(path.join(live, 'second'), 'second');
    const { exitCode, value, stderr } = await run(target);
    expect(exitCode, stderr).toBe(3);
    expect(value.warnings.join()).toMatch(/is a full one: .*another subvolume/);
    const out = path.join(directory, 'out');
    const restored = await cli.run('restore', 'srv', '--from', target, '--to', out);
    expect(restored.stderr).not.toContain('Error');
    expect((await readdir(path.join(out, live))).toSorted()).toEqual(['first', 'second']);
  });

  it('makes full backups where a mere directory of a btrfs is mounted, and increments where a subvolume is', async () => {
    const { mountpoint, device } = await disks.filesystem({ fstype: 'btrfs', name: `target-${count}` });
    const [bound, mounted] = [path.join(directory, 'bound'), path.join(directory, 'mounted')];
    await mkdir(path.join(mountpoint, 'plain'), { mode: 0o700 });
    await must('btrfs', 'subvolume', 'create', path.join(mountpoint, 'own'));
    await must('chmod', '700', path.join(mountpoint, 'own'));
    for (const target of [bound, mounted]) await mkdir(target, { mode: 0o700 });
    await must('mount', '--bind', path.join(mountpoint, 'plain'), bound);
    await must('mount', '-o', 'subvol=own', device, mounted);
    onTestFinished(async () => {
      await must('umount', bound, mounted);
    });
    for (const [target, warning] of [
      [bound, 'shows a directory of a btrfs'],
      [mounted, ''],
    ] as const) {
      expect((await run(target)).exitCode).toBe(0);
      const { exitCode, value, stderr } = await run(target);
      expect(exitCode, stderr).toBe(warning === '' ? 0 : 3);
      expect(value.warnings.join()).toContain(warning);
    }
  });

  it('knows a backup that was written to, and keeps its received UUID, for what it is', async () => {
    const target = await makeTarget('btrfs');
    await run(target);
    const { data, subvolume } = await received(target);
    const sound = { dataDirectory: data, digests: undefined, scratch: directory };
    expect(await verifyWith(createBtrfsSendEngine(), sound)).toMatchObject({ problems: [] });
    const before = await readSubvolume(subvolume);
    await setReadOnly(subvolume, false);
    await writeFile(path.join(subvolume, 'first'), 'other');
    await setReadOnly(subvolume, true);
    expect((await readSubvolume(subvolume))?.receivedUuid).toBe(before?.receivedUuid);

    const { problems } = await verifyWith(createBtrfsSendEngine(), { ...sound, mode: 'quick' });
    expect(problems.join()).toContain('written to');
    const out = path.join(directory, 'out');
    const restored = await cli.run('restore', 'srv', '--from', target, '--to', out);
    expect(restored.exitCode, restored.stderr).toBe(3);
    expect(restored.stdout + restored.stderr).toContain('is not as it was received');
    const { exitCode, value } = await run(target);
    expect(exitCode).toBe(3);
    expect(value.warnings.join()).toMatch(/is a full one: .*changed/);
  });

  it('takes no deduplication for a change, also where an earlier version did not note the last one', async () => {
    const target = await makeTarget('btrfs');
    await run(target);
    const { data } = await received(target);
    const file = path.join(data, 'contents.json');
    const contents = await readFile(file, 'utf8');
    await writeFile(file, contents.replace(/"lastChange": \d+/, '"lastChange": 1'));
    const sound = { dataDirectory: data, digests: undefined, scratch: directory };
    expect(await verifyWith(createBtrfsSendEngine(), sound)).toMatchObject({ problems: [] });
    await writeFile(file, contents.replace(/"lastChange": \d+,/, ''));
    expect(await verifyWith(createBtrfsSendEngine(), sound)).toMatchObject({ problems: [] });
    expect((await run(target)).exitCode).toBe(0);
  });

  it('restores a chain that an earlier version made of such a subvolume', async () => {
    await makeReceived();
    const ids = ['20260101T000000Z-000001', '20260101T000000Z-000002', '20260101T000000Z-000003'];
    const job = path.join(directory, 'backups', 'srv');
    for (const [index, id] of ids.entries()) {
      await writeFile(path.join(live, `of-${index}`), String(index));
      const snapshot = path.join(origin.mountpoint, `s${index}`);
      await must('btrfs', 'subvolume', 'snapshot', '-r', live, snapshot);
      const data = path.join(job, id, 'data');
      await mkdir(data, { recursive: true });
      const since = index === 0 ? [] : ['-p', path.join(origin.mountpoint, `s${index - 1}`)];
      const raw = path.join(directory, `s${index}.btrfs`);
      await must('btrfs', 'send', '-q', '-f', raw, ...since, snapshot);
      await must('zstd', '-q', raw, '-o', path.join(data, `s${index}.btrfs.zst`));
      const parent = index === 0 ? {} : { parent: { backupId: ids[index - 1], name: `s${index - 1}` } };
      const { uuid = '' } = (await readSubvolume(snapshot)) ?? {};
      const bytes = (await readFile(raw)).length;
      const contents = {
        version: 1,
        kind: 'stream',
        trees: [{ path: '/srv', subvolume: `s${index}`, inside: '' }],
        subvolumes: [{ name: `s${index}`, uuid, bytes, ...parent }],
      };
      await writeFile(path.join(data, 'contents.json'), JSON.stringify(contents));
    }
    const destination = path.join(directory, 'out');
    await mkdir(destination);
    const data = path.join(job, ids[2] ?? '', 'data');
    await createBtrfsSendEngine().restore(
      restoreRequest([{ path: '/srv', readFrom: '/', exclude: [] }], data, destination),
    );
    expect((await readdir(path.join(destination, 'srv'))).toSorted()).toEqual([
      'first',
      'of-0',
      'of-1',
      'of-2',
    ]);
  });

  it('finds an increment bad, and warns of it, that an earlier version received of such a subvolume', async () => {
    const target = await makeTarget('btrfs');
    await run(target);
    const { data } = await received(target);
    const file = path.join(data, 'contents.json');
    const contents = JSON.parse(await readFile(file, 'utf8')) as { subvolumes: Record<string, unknown>[] };
    const [subvolume] = contents.subvolumes;
    if (subvolume === undefined) throw new Error('there is no subvolume');
    subvolume['uuid'] = '00000000-0000-0000-0000-000000000001';
    subvolume['parent'] = { backupId: '20260101T000000Z-000001', name: 'before' };
    await writeFile(file, JSON.stringify(contents));

    const engine = createBtrfsSendEngine();
    const { problems } = await verifyWith(engine, {
      dataDirectory: data,
      digests: undefined,
      scratch: directory,
      mode: 'quick',
    });
    expect(problems.join()).toContain('may be an increment of another subvolume');
    const destination = path.join(directory, 'out');
    await mkdir(destination);
    const { warnings } = await engine.restore(
      restoreRequest([{ path: live, readFrom: '/', exclude: [] }], data, destination),
    );
    expect(warnings?.join()).toContain('may lack changes');
  });
});
