import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import type { BaseStatus } from '../../src/run/release-bases.js';
import { describeNeeding } from '../support/capabilities.js';
import { keysBeside } from '../support/documented-json.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { flipByteOfLargest } from '../support/engine-requests.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'btrfs', 'program:btrfs', 'program:zstd'], 'kept snapshots', () => {
  const disks = throwawayDisks(afterAll);
  let origin: ThrowawayFilesystem;
  let target: string;
  let cli: FsbackupCli;
  let count = 0;

  beforeEach(async () => {
    count += 1;
    origin = await disks.filesystem({ fstype: 'btrfs', name: `origin-${count}` });
    await writeFile(path.join(origin.mountpoint, 'file'), 'first');
    const directory = path.join(disks.directory, `host-${count}`);
    target = path.join(directory, 'backups');
    await mkdir(target, { recursive: true });
    cli = new FsbackupCli(directory);
  });

  async function run(engine = 'btrfs-send') {
    return await cli.runJob(
      '--job',
      'srv',
      '--source',
      origin.mountpoint,
      '--to',
      target,
      '--engine',
      engine,
    );
  }

  async function kept(): Promise<string[]> {
    return await readdir(path.join(origin.mountpoint, '.fsbackup-snapshots')).catch(() => []);
  }

  async function bases(): Promise<BaseStatus[]> {
    const { stdout } = await cli.run('status', '--json');
    return (JSON.parse(stdout) as { bases: BaseStatus[] }).bases;
  }

  async function needs(): Promise<(readonly string[] | undefined)[]> {
    const backups = await listBackups(target);
    return backups.map((backup) => (backup.state === 'complete' ? backup.manifest.needs : ['incomplete']));
  }

  it('keeps the last snapshot and no other, and makes increments that retention understands', async () => {
    for (let round = 0; round < 3; round += 1) {
      await writeFile(path.join(origin.mountpoint, 'file'), `content ${round}`);
      const { exitCode, value, stderr } = await run();
      expect(exitCode, stderr).toBe(0);
      expect(value.warnings).toEqual([]);
      expect(await kept()).toEqual([value.sources[0]?.snapshot]);
      expect(await cli.journalEntries()).toEqual([]);
      expect(await bases()).toMatchObject([
        { job: 'srv', target, backupId: value.runId, snapshots: [{ name: value.sources[0]?.snapshot }] },
      ]);
    }
    const [one, two] = (await listBackups(target)).map(({ backupId }) => backupId);
    expect(await needs()).toEqual([undefined, [one], [two, one]]);
    const pruned = await cli.run('backups', 'prune', 'srv', '--from', target, '--keep-last', '1');
    expect(pruned.exitCode, pruned.stderr).toBe(0);
    expect(await needs()).toHaveLength(3);

    const out = path.join(disks.directory, `out-${count}`);
    const restored = await cli.run('restore', 'srv', '--from', target, '--to', out);
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await readFile(path.join(out, origin.mountpoint, 'file'), 'utf8')).toBe('content 2');
    const verified = await cli.run('backups', 'verify', 'srv', '--full', '--from', target);
    expect(verified.exitCode, verified.stdout + verified.stderr).toBe(0);

    const released = await cli.run('backups', 'release', 'srv');
    expect(released.exitCode, released.stderr).toBe(0);
    expect([await kept(), await bases(), await cli.journalEntries()]).toEqual([[], [], []]);
    expect((await run()).exitCode).toBe(0);
    expect((await needs()).at(-1)).toBeUndefined();
  });

  it('releases for a target that is written otherwise, and for no other one', async () => {
    await run();
    const release = async (written: string) =>
      await cli.run('backups', 'release', 'srv', '--target', written, '--json');
    const unknown = await release(`${target}-typo`);
    expect(unknown.exitCode).toBe(2);
    expect(unknown.stderr).toContain(`nothing is kept for srv in ${target}-typo`);
    expect(unknown.stderr).toContain(target);
    expect(await kept()).toHaveLength(1);
    const link = path.join(disks.directory, `link-${count}`);
    await symlink(target, link);
    for (const written of [`${target}/`, path.relative(process.cwd(), target), link]) {
      const released = await release(written);
      expect(released.exitCode, released.stderr).toBe(0);
      expect(JSON.parse(released.stdout)).toMatchObject({ released: [{ job: 'srv', target }] });
      const { printed, page } = await keysBeside('backups release', released.stdout);
      expect(printed).toEqual(page);
      expect(await kept()).toEqual([]);
      await run();
    }
  });

  it('makes a full backup and warns when somebody removed what was kept', async () => {
    await run();
    const [name = ''] = await kept();
    await must('btrfs', 'subvolume', 'delete', path.join(origin.mountpoint, '.fsbackup-snapshots', name));
    const second = await run();
    expect(second.exitCode, second.stderr).toBe(3);
    expect(second.value.warnings.join()).toMatch(/full/);
    expect(await needs()).toEqual([undefined, undefined]);
    expect(await kept()).toEqual([second.value.sources[0]?.snapshot]);
    expect((await run()).exitCode).toBe(0);
    expect((await needs())[2]).toHaveLength(1);
  });

  it.each(['snapshot', 'exposure', 'backup'] as const)(
    'keeps the base of before when it is killed at its %s, and goes on from there',
    async (step) => {
      const first = await run();
      await must(
        'dd',
        'if=/dev/urandom',
        `of=${origin.mountpoint}/large`,
        'bs=1M',
        'count=64',
        'status=none',
      );
      const started = cli.start(
        'run',
        '--job',
        'srv',
        '--source',
        origin.mountpoint,
        '--to',
        target,
        '--engine',
        'btrfs-send',
      );
      await cli.journalled(step, started);
      started.kill('SIGKILL');
      await started.ended();
      const recovered = await cli.recover();
      expect(recovered.value.failed).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
      expect(await kept()).toEqual([first.value.sources[0]?.snapshot]);
      const second = await run();
      expect(second.exitCode, second.stderr).toBe(0);
      expect(await needs()).toEqual([undefined, [first.value.runId]]);
    },
  );

  it('recovers no snapshot that is recorded as kept, whatever the journal says', async () => {
    const first = await run();
    const name = first.value.sources[0]?.snapshot ?? '';
    const { FSBACKUP_STATE_DIR: state } = cli.environment;
    const [file = ''] = await readdir(path.join(state, 'bases'));
    const text = await readFile(path.join(state, 'bases', file), 'utf8');
    const record = JSON.parse(text) as { snapshots: { snapshot: object }[] };
    const entry = { version: 1, id: 'x-0-snapshot', kind: 'snapshot', createdAt: new Date().toISOString() };
    const owner = { runId: 'x', job: 'srv', pid: 1, startTime: 1, bootId: 'of another boot' };
    const whole = { ...entry, ...owner, payload: record.snapshots[0]?.snapshot };
    const journalled = path.join(state, 'journal', 'x-0-snapshot.json');
    await writeFile(journalled, JSON.stringify(whole), { mode: 0o600 });
    expect((await cli.recover()).exitCode).toBe(0);
    expect([await kept(), await cli.journalEntries()]).toEqual([[name], []]);

    // A record that cannot be read is no proof that nothing is kept.
    await writeFile(path.join(state, 'bases', file), 'damaged');
    await writeFile(journalled, JSON.stringify(whole), { mode: 0o600 });
    expect((await cli.recover()).exitCode).toBe(60);
    expect(await kept()).toEqual([name]);
  });

  it('keeps and removes its own snapshots, whatever became of the record of another job', async () => {
    const { FSBACKUP_STATE_DIR: state } = cli.environment;
    await mkdir(path.join(state, 'bases'), { recursive: true, mode: 0o700 });
    // The name of the one begins as that of the job does.
    for (const job of ['other', 'srv-b']) {
      await writeFile(path.join(state, 'bases', `${job}-0123456789ab.json`), '{"version":2}', {
        mode: 0o600,
      });
    }
    const first = await run();
    expect([first.exitCode, first.value.warnings]).toEqual([0, []]);
    const second = await run();
    expect([second.exitCode, second.value.warnings]).toEqual([0, []]);
    expect(await kept()).toEqual([second.value.sources[0]?.snapshot]);
    const other = await run('rsync');
    expect([other.exitCode, await kept(), await cli.journalEntries()]).toEqual([0, [], []]);
  });

  it('lets go of what it kept when the target gets another engine', async () => {
    await run();
    expect(await kept()).toHaveLength(1);
    const other = await run('rsync');
    expect(other.exitCode, other.stderr).toBe(0);
    expect([await kept(), await bases(), await cli.journalEntries()]).toEqual([[], [], []]);
  });

  it('proves nothing of what was received without checksums, however it is mounted now, nor of what shares with it', async () => {
    const other = await disks.filesystem({ fstype: 'btrfs' });
    target = other.mountpoint;
    const verified = async (): Promise<number | undefined> => {
      await writeFile(path.join(origin.mountpoint, 'another'), 'content');
      expect((await run()).exitCode).toBe(0);
      return (await cli.run('backups', 'verify', 'srv', '--full', '--from', target)).exitCode;
    };
    await must('mount', '-o', 'remount,nodatasum', target);
    expect(await verified()).toBe(3);
    const drill = await cli.run('backups', 'verify', 'srv', '--drill', '--from', target);
    expect(drill.exitCode, drill.stdout).toBe(3);
    await must('mount', '-o', 'remount,datasum', target);
    expect((await cli.run('backups', 'verify', 'srv', '--full', '--from', target)).exitCode).toBe(3);
    expect(await verified()).toBe(3);
    expect((await cli.run('backups', 'release', 'srv')).exitCode).toBe(0);
    expect(await verified()).toBe(0);
  });

  it('takes received subvolumes away with their backups', async () => {
    const disk = await disks.filesystem({ fstype: 'btrfs', name: `target-${count}` });
    target = disk.mountpoint;
    for (let round = 0; round < 3; round += 1) expect((await run()).exitCode).toBe(0);
    const listed = await must('btrfs', 'subvolume', 'list', target);
    expect(listed.split('\n')).toHaveLength(3);
    const [first, , third] = await listBackups(target);
    if (first === undefined || third === undefined) throw new Error('too few backups');
    expect(await needs()).toEqual([undefined, undefined, undefined]);
    const pruned = await cli.run('backups', 'prune', 'srv', '--from', target, '--keep-last', '1');
    expect(pruned.exitCode, pruned.stderr).toBe(0);
    expect(await listBackups(target)).toHaveLength(1);
    expect((await must('btrfs', 'subvolume', 'list', target)).split('\n')).toHaveLength(1);
    expect(await readdir(dataDirectory(third))).toContain('contents.json');
    const out = path.join(disks.directory, `out-${count}`);
    expect((await cli.run('restore', 'srv', '--from', target, '--to', out)).exitCode).toBe(0);
    expect(await readFile(path.join(out, origin.mountpoint, 'file'), 'utf8')).toBe('first');
  });

  it('lists nothing of what a full target cut short, makes it whole the next time, and finds a flipped byte', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 64, name: `small-${count}` });
    target = disk.mountpoint;
    const random = (file: string, mebibytes: number): Promise<string> =>
      must('dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${mebibytes}`, 'status=none');
    await random(path.join(origin.mountpoint, 'large'), 24);
    await random(path.join(target, 'filler'), 40);
    const full = await run();
    expect(full.exitCode, full.stderr).toBe(40);
    expect(full.value.copies).toEqual([]);
    expect([await listBackups(target), await kept(), await bases(), await cli.journalEntries()]).toEqual([
      [],
      [],
      [],
      [],
    ]);
    await rm(path.join(target, 'filler'));
    const whole = await run();
    expect(whole.exitCode, whole.stderr).toBe(0);
    const [backup] = await listBackups(target);
    if (backup === undefined) throw new Error('no backup');
    const verify = () => cli.run('backups', 'verify', 'srv', '--full', '--from', target);
    expect((await verify()).exitCode).toBe(0);
    await flipByteOfLargest(dataDirectory(backup));
    expect((await verify()).exitCode).toBe(50);
  });
});
