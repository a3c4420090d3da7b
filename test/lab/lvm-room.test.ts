import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DEFAULT_LVM } from '../../src/config/lvm-settings.js';
import type { RunReport } from '../../src/report/run-report.js';
import type { LvmSettings, SnapshotRef } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { readLogicalVolumes } from '../../src/system/lvm.js';
import { runCommand } from '../../src/system/run-command.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabVolumeGroup, type LabVolume } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

const MIB = 2 ** 20;

describeInLab({ once: 'refuses' }, 'the room of a snapshot on LVM', ({ disks }) => {
  let group: LabVolumeGroup;

  beforeEach(async () => {
    group = await LabVolumeGroup.make('lab-room', disks.slice(0, 1));
  });

  afterEach(async () => {
    await group.dispose();
  });

  /** Takes a snapshot as a run does; the caller removes it. */
  async function snapshotOf(volume: LabVolume, lvm: Partial<LvmSettings>): Promise<SnapshotRef> {
    const { filesystem } = await readFilesystemFacts(volume.mountpoint, { readVolumes: readLogicalVolumes });
    const provider = providerByName('lvm');
    const name = 'fsbackup-room-0';
    const settings = { ...DEFAULT_LVM, ...lvm };
    const [ref] = await provider.prepare([{ filesystem, name, freezeMode: 'native', lvm: settings }]);
    if (ref === undefined) throw new Error('nothing was prepared');
    await provider.create([ref], { signal: new AbortController().signal });
    return ref;
  }

  /** Writes the start of a file; over the same blocks, once it is there. */
  async function overwrite(volume: LabVolume, mib: number): Promise<void> {
    const of = `of=${volume.mountpoint}/over`;
    await must(
      'dd',
      'status=none',
      'if=/dev/urandom',
      of,
      'bs=1M',
      `count=${mib}`,
      'oflag=direct',
      'conv=notrunc,fsync',
    );
  }

  async function snapshotVolume() {
    const found = (await group.volumes()).find(({ lv }) => lv === 'fsbackup-room-0');
    if (found === undefined) throw new Error('the snapshot is not there');
    return found;
  }

  it('that fills up is extended where that is allowed, as often as there is room', async () => {
    const volume = await group.volume({ lv: 'srv', fstype: 'ext4' });
    const provider = providerByName('lvm');
    await overwrite(volume, 46);
    const ref = await snapshotOf(volume, { size: { bytes: 32 * MIB }, extend: true });
    try {
      await provider.checkIntact(ref);
      expect((await snapshotVolume()).sizeBytes).toBe(32 * MIB);
      await overwrite(volume, 26);
      // Its origin would be suspended for that, which some kernels do not survive while somebody holds it frozen.
      await must('fsfreeze', '--freeze', volume.mountpoint);
      try {
        await provider.checkIntact(ref);
        expect((await snapshotVolume()).sizeBytes).toBe(32 * MIB);
      } finally {
        await must('fsfreeze', '--unfreeze', volume.mountpoint);
      }
      await provider.checkIntact(ref);
      const extended = await snapshotVolume();
      expect(extended.sizeBytes).toBe(48 * MIB);
      expect(extended.dataPercent).toBeLessThan(70);
      // The rest of the group is taken: what comes next finds no room.
      await must('lvcreate', '--quiet', '--yes', '-l', '100%FREE', '-n', 'rest', group.vg);
      await overwrite(volume, 46);
      await expect(provider.checkIntact(ref)).rejects.toMatchObject({
        code: 'snapshotInvalid',
        message: expect.stringContaining('lab-room/fsbackup-room-0 is filled to'),
        hint: expect.stringContaining('lvm.size'),
      });
      expect((await snapshotVolume()).isInvalid).toBe(false);
    } finally {
      await provider.remove(ref);
    }
    expect((await group.volumes()).map(({ lv }) => lv).toSorted()).toEqual(['rest', 'srv']);
  });

  it('that fills up is not extended where that is not asked for', async () => {
    const volume = await group.volume({ lv: 'srv', fstype: 'ext4' });
    const provider = providerByName('lvm');
    await overwrite(volume, 26);
    const ref = await snapshotOf(volume, { size: { bytes: 32 * MIB } });
    try {
      await overwrite(volume, 26);
      await provider.checkIntact(ref);
      expect((await snapshotVolume()).sizeBytes).toBe(32 * MIB);
    } finally {
      await provider.remove(ref);
    }
  });

  it('in a thin pool that becomes full while it is copied is given up, and the copy discarded', async () => {
    await group.pool('pool', 256);
    await must('lvchange', '--quiet', '--errorwhenfull', 'y', `${group.vg}/pool`);
    const volume = await group.volume({ lv: 'srv', fstype: 'ext4', pool: 'pool', sizeMiB: 400 });
    const target = (await group.volume({ lv: 'backups', fstype: 'ext4' })).mountpoint;
    await writeFile(path.join(volume.mountpoint, 'big'), Buffer.alloc(80 * MIB, 1));
    await must('sync', '--file-system', volume.mountpoint);
    await mkdir(path.join(group.directory, 'fsbackup'));
    const cli = new FsbackupCli(path.join(group.directory, 'fsbackup'));
    const job = ['--job', 'full', '--source', volume.mountpoint, '--to', target];

    const started = cli.start('run', ...job, '--json');
    await cli.journalled('backup', started);
    await started.stopChild('rsync');
    // The origin's writes fail once the pool is full: that is what happens to others, and no business of this test.
    for (let round = 0; round < 30 && !started.hasEnded; round += 1) {
      const of = `of=${volume.mountpoint}/over${round}`;
      const dd = ['dd', 'status=none', 'if=/dev/urandom', of, 'bs=1M', 'count=10', 'conv=fsync'] as const;
      await runCommand(dd, { timeoutMs: 60_000 });
      await sleep(100);
    }
    expect(await started.ended()).toBe(31);
    const report = JSON.parse(started.output.slice(started.output.indexOf('{'))) as RunReport;
    expect(report).toMatchObject({ exitCode: 31, copies: [], error: { code: 'snapshotInvalid' } });
    expect(report.error?.message).toMatch(/thin pool lab-room\/pool is filled to \d+(?:\.\d+)? % \(data\)/);
    expect(report.error?.hint).toContain('lvextend -L +SIZE lab-room/pool');
    expect(report.sources).toMatchObject([{ snapshot: expect.any(String), freezeMode: 'native' }]);
    const listed = await cli.run('backups', 'list', 'full', '--from', target);
    expect(listed.stdout).not.toContain(report.runId);
    expect((await group.volumes()).map(({ lv }) => lv).filter((lv) => lv.startsWith('fsbackup'))).toEqual([]);
    expect(await cli.journalEntries()).toEqual([]);

    // And the pool being over its threshold, the next run does not begin.
    const next = await cli.runJob(...job);
    expect(next.exitCode).toBe(30);
    expect(next.value.sources).toMatchObject([{ snapshot: null, attempts: 0 }]);
  });
});
