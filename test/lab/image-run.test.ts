import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import { poolDevice } from '../../src/system/thin-pool.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, type LabVolume } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

describeInLab({ once: 'nests' }, 'a run that images a thin volume', ({ disks }) => {
  let group: LabVolumeGroup;
  let thin: LabVolume;
  let target: string;
  let cli: FsbackupCli;

  beforeAll(async () => {
    group = await LabVolumeGroup.make('lab-image', disks.slice(0, 1));
    await group.pool('pool', 400);
    thin = await group.volume({ lv: 'thin', fstype: 'ext4', sizeMiB: 96, pool: 'pool' });
    target = (await group.volume({ lv: 'backups', fstype: 'ext4', sizeMiB: 600 })).mountpoint;
    const directory = path.join(group.directory, 'fsbackup');
    await mkdir(directory);
    cli = new FsbackupCli(directory);
  });

  afterAll(async () => {
    await group.dispose();
  });

  const ARGS = ['--job', 'srv', '--engine', 'image'] as const;
  const run = () => cli.runJob(...ARGS, '--source', thin.mountpoint, '--to', target);
  const snapshots = async (): Promise<string[]> =>
    (await group.volumes())
      .filter(({ tags }) => tags.some((tag) => tag.startsWith('fsbackup.name')))
      .map(({ lv }) => lv);

  it('reads what changed, keeps one inactive snapshot, and restores what was there', async () => {
    await must('dd', 'if=/dev/urandom', `of=${thin.mountpoint}/large`, 'bs=1M', 'count=24', 'status=none');
    const full = await run();
    expect(full.exitCode, full.stderr).toBe(0);
    await writeFile(path.join(thin.mountpoint, 'file'), 'second');
    const increment = await run();
    expect(increment.exitCode, increment.stderr).toBe(0);
    expect(increment.value.copies[0]?.bytes).toBeLessThan((full.value.copies[0]?.bytes ?? 0) / 4);
    const [, second] = await listBackups(target);
    expect(second).toMatchObject({ manifest: { needs: [full.value.runId] } });
    expect(await snapshots()).toEqual([increment.value.sources[0]?.snapshot]);
    const kept = (await group.volumes()).find(({ lv }) => lv === increment.value.sources[0]?.snapshot);
    expect(kept?.majorMinor).toBeUndefined();
    expect(await cli.journalEntries()).toEqual([]);
    expect(await must('dmsetup', 'status', poolDevice(group.vg, 'pool'))).toMatch(/thin-pool \d+ \S+ \S+ - /);

    const out = path.join(group.directory, 'backups', 'restored');
    const restored = await cli.run('restore', 'srv', '--from', target, '--to', out);
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await readFile(path.join(out, thin.mountpoint, 'file'), 'utf8')).toBe('second');
    expect(await must('cmp', `${thin.mountpoint}/large`, path.join(out, thin.mountpoint, 'large'))).toBe('');
  });

  it('restores to a device, which then holds the filesystem, and to none that is in use', async () => {
    await must('lvcreate', '--quiet', '--yes', '-L', '100m', '-n', 'copy', group.vg);
    const device = `/dev/${group.vg}/copy`;
    await must('dd', 'if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=100', 'status=none');
    const busy = await cli.run('restore', 'srv', '--from', target, '--image', '--to', thin.device, '--force');
    expect(busy.exitCode, busy.stderr).toBe(2);
    const restored = await cli.run('restore', 'srv', '--from', target, '--image', '--to', device, '--force');
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await must('e2fsck', '-fn', device)).toMatch(/copy: \d+\/\d+ files/);
    const mountpoint = path.join(group.directory, 'copy');
    await mkdir(mountpoint);
    await must('mount', '-o', 'ro', device, mountpoint);
    expect(await readFile(path.join(mountpoint, 'file'), 'utf8')).toBe('second');
    expect(await must('cmp', `${thin.mountpoint}/large`, `${mountpoint}/large`)).toBe('');
  });

  it('releases the metadata of the pool that a dead run had it keep', async () => {
    const device = poolDevice(group.vg, 'pool');
    await must('dmsetup', 'message', device, '0', 'reserve_metadata_snap');
    // Of somebody else: it is left alone, and what changed cannot be told.
    const foreign = await run();
    expect(foreign.exitCode, foreign.stderr).toBe(3);
    expect(foreign.value.warnings.join()).toMatch(/full one: the thin pool .* cannot tell/);
    expect(await must('dmsetup', 'status', device)).not.toMatch(/thin-pool \d+ \S+ \S+ - /);
    const owner = {
      runId: 'x',
      job: 'srv',
      pid: 1,
      startTime: 1,
      bootId: 'x',
      createdAt: '2026-01-01T00:00:00Z',
    };
    const entry = { version: 1, id: 'x-0', kind: 'pool-metadata', ...owner, payload: { device } };
    const { FSBACKUP_STATE_DIR: state } = cli.environment;
    await writeFile(path.join(state, 'journal/x-0-pool-metadata.json'), JSON.stringify(entry), {
      mode: 0o600,
    });
    expect((await cli.recover()).exitCode).toBe(0);
    expect(await must('dmsetup', 'status', device)).toMatch(/thin-pool \d+ \S+ \S+ - /);
    // Nothing was kept of the full one, which could not be identified.
    expect(await snapshots()).toEqual([]);
    expect((await run()).exitCode).toBe(0);
    expect((await run()).exitCode).toBe(0);
    const needs = (await listBackups(target)).map((one) =>
      one.state === 'complete' ? one.manifest.needs : one.state,
    );
    expect(needs.at(-2)).toBeUndefined();
    expect(needs.at(-1)).toHaveLength(1);
  });
});
