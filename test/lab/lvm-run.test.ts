import { mkdir, readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { RunReport } from '../../src/report/run-report.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { startLogWriter } from '../support/log-writer.js';
import { LabVolumeGroup, storageState, type LabVolume } from '../support/lvm-lab.js';
import { checkRecords, parseRecords, type FrozenWindow } from '../support/records.js';
import { must } from '../support/throwaway-filesystem.js';
import { describeTree, differencesOf } from '../support/tree.js';

/** When the snapshot of a native freeze was taken: lvcreate's own freeze lies somewhere in it. */
function snapshotWindow({ startedAt, steps }: RunReport): FrozenWindow {
  const step = steps.find((one) => one.step === 'snapshot');
  if (step === undefined) throw new Error('the report has no snapshot');
  const startMs = Date.parse(startedAt) + step.startMs;
  return { startMs, endMs: startMs + step.durationMs };
}

describeInLab({}, 'a run on LVM', ({ disks, kernel, share }) => {
  let group: LabVolumeGroup;
  let classic: LabVolume;
  let thin: LabVolume;
  let target: string;
  let cli: FsbackupCli;
  let before: string[];

  beforeAll(async () => {
    group = await LabVolumeGroup.make('lab-run', disks.slice(0, 2));
    await group.pool('pool', 1000);
    classic = await group.volume({ lv: 'classic', fstype: 'ext4' });
    thin = await group.volume({ lv: 'thin', fstype: 'xfs', pool: 'pool' });
    target = (await group.volume({ lv: 'backups', fstype: 'ext4', sizeMiB: 1000 })).mountpoint;
    cli = new FsbackupCli(path.join(group.directory, 'fsbackup'));
    await mkdir(path.join(group.directory, 'fsbackup'));
  });

  afterAll(async () => {
    await group.dispose();
  });

  beforeEach(async () => {
    before = await storageState();
  });

  // Of every run, whatever became of it.
  afterEach(async () => {
    expect(await storageState()).toEqual(before);
    expect(await cli.journalEntries()).toEqual([]);
  });

  async function config(name: string, source: object): Promise<string> {
    const file = path.join(group.directory, `${name}.yaml`);
    const jobs = { [name]: { sources: [source], targets: [target], attempts: 1 } };
    await writeFile(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    return file;
  }

  it.each(['classic', 'thin'] as const)('%s: restores what was acknowledged before', async (kind) => {
    const volume = kind === 'classic' ? classic : thin;
    const log = path.join(volume.mountpoint, 'records');
    await mkdir(path.join(volume.mountpoint, 'still'));
    await writeFile(path.join(volume.mountpoint, 'still/file'), 'x'.repeat(100_000));
    const still = await describeTree(path.join(volume.mountpoint, 'still'));
    const writer = startLogWriter(log);
    let run;
    try {
      await writer.acknowledged(20);
      run = await cli.runJob('--job', kind, '--source', volume.mountpoint, '--to', target);
      await writer.acknowledged(writer.acknowledgements.length + 10);
    } finally {
      await writer.stop();
    }
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.value).toMatchObject({
      consistency: 'filesystem',
      sources: [{ provider: 'lvm', freezeMode: 'native', attempts: 1, frozenMs: expect.any(Number) }],
    });
    // lvcreate's own freeze is only a part of its time.
    const [{ frozenMs, snapshotMs } = {}] = run.value.sources;
    expect(frozenMs).toBeGreaterThan(0);
    expect(frozenMs).toBeLessThan(Number(snapshotMs));
    // For one volume alone nobody finds out what the kernel does: what may have been left unmountable is looked at.
    expect(run.value.steps.some(({ step }) => step === 'prove')).toBe(true);
    const restored = path.join(group.directory, `restored-${kind}`);
    const restore = await cli.run('restore', kind, '--from', target, '--to', restored);
    expect(restore.exitCode, restore.stderr).toBe(0);
    const text = await readFile(path.join(restored, log), 'utf8');
    expect(checkRecords(text, writer.acknowledgements, snapshotWindow(run.value))).toEqual([]);
    expect(parseRecords(text).records.length).toBeLessThan(writer.acknowledgements.length);
    const actual = await describeTree(path.join(restored, volume.mountpoint, 'still'));
    expect(differencesOf(still, actual)).toEqual([]);
    // An origin that was frozen twice could not be mounted any more.
    await must('umount', volume.mountpoint);
    await must('mount', volume.device, volume.mountpoint);
  });

  /** The snapshot as it is mounted while it is copied, and what says whose it is. */
  async function expectShown(kind: 'classic' | 'thin'): Promise<void> {
    const mounts = (await readMounts()).filter(({ source }) => source.includes('fsbackup'));
    const options = mounts.flatMap((mount) => [...mount.options, ...mount.superOptions]);
    expect(mounts).toMatchObject([
      { mountpoint: path.join(cli.environment.FSBACKUP_RUN_DIR, 'mnt/killed/0') },
    ]);
    const wanted = ['ro', 'nosuid', 'nodev', 'noexec', ...(kind === 'thin' ? ['nouuid', 'norecovery'] : [])];
    expect(options).toEqual(expect.arrayContaining(wanted));
    // It was taken frozen: there is no journal to pass over.
    expect(options).not.toContain('noload');
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const snapshot = (await group.volumes()).find(({ lv }) => lv.startsWith('fsbackup-killed'));
    expect(snapshot?.tags).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^fsbackup\.run=\d{8}T\d{6}Z-[0-9a-f]+$/),
        `fsbackup.host=${os.hostname()}`,
        `fsbackup.boot=${bootId}`,
      ]),
    );
  }

  it.each(
    share(
      (['classic', 'thin'] as const).flatMap((kind) =>
        (['snapshot', 'exposure', 'backup', 'release'] as const).map((step) => [kind, step] as const),
      ),
    ),
  )('%s: leaves nothing once it was killed at its %s and recovered', async (kind, step) => {
    const { mountpoint } = kind === 'classic' ? classic : thin;
    const started = cli.start('run', '--job', 'killed', '--source', mountpoint, '--to', target);
    try {
      await cli.journalled(step === 'release' ? 'backup' : step, started);
      if (step === 'backup') await expectShown(kind);
      if (step === 'release') await cli.noLongerJournalled('backup', started);
    } finally {
      started.kill('SIGKILL');
    }
    expect(await started.ended()).toBe('SIGKILL');
    await writeFile(path.join(mountpoint, 'written'), 'it is not frozen');
    const recovered = await cli.recover();
    expect(recovered.value.failed).toEqual([]);
    expect((await cli.recover()).value.released).toEqual([]);
  });

  it('discards what was copied from a snapshot that overflowed', async () => {
    await writeFile(path.join(classic.mountpoint, 'big'), Buffer.alloc(60 * 2 ** 20, 1));
    await must('sync', '--file-system', classic.mountpoint);
    const file = await config('full', { path: classic.mountpoint, lvm: { size: '8MiB' } });
    const started = cli.start('run', 'full', '--config', file, '--json');
    await cli.journalled('backup', started);
    await started.stopChild('rsync');
    // Written over until the room of the snapshot is long used up.
    for (let round = 0; round < 20 && !started.hasEnded; round += 1) {
      const dd = ['if=/dev/urandom', `of=${classic.mountpoint}/over`, 'bs=1M', 'count=40', 'conv=fsync'];
      await must('dd', 'status=none', ...dd);
      await sleep(200);
    }
    expect(await started.ended()).toBe(31);
    const report = JSON.parse(started.output.slice(started.output.indexOf('{'))) as RunReport;
    expect(report).toMatchObject({ exitCode: 31, copies: [], error: { code: 'snapshotInvalid' } });
    expect(report.error?.hint).toMatch(/lvm\.size/);
    const listed = await cli.run('backups', 'list', 'full', '--from', target);
    expect(listed.stdout).not.toContain(report.runId);
  });

  it('refuses what cannot go well before anything is made', async () => {
    const tooBig = await config('big', { path: classic.mountpoint, lvm: { size: '200GiB' } });
    const pool = await config('pool', { path: thin.mountpoint, lvm: { poolThreshold: '1%' } });
    const noRoom = await cli.runJob('big', '--config', tooBig);
    // More than the origin can use is cut down to that; there is room for it.
    expect(noRoom.exitCode, noRoom.stderr).toBe(0);
    const full = await cli.runJob('pool', '--config', pool);
    expect(full.exitCode).toBe(30);
    expect(full.value.error?.message).toMatch(/lab-run\/pool is filled/);
    expect(full.value.sources).toMatchObject([{ snapshot: null, attempts: 0 }]);
    if (kernel === 'nests') return;
    const explicit = await config('held', { path: classic.mountpoint, freezeMode: 'explicit' });
    const refused = await cli.runJob('held', '--config', explicit);
    expect(refused.exitCode).toBe(2);
    expect(refused.value.error?.message).toMatch(/explicit is not possible/);
  });
});
