import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { RecoverReport } from '../../src/journal/recover-report.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], 'recover --forget', () => {
  const disks = throwawayDisks(afterAll);

  it('forgets a snapshot whose disk is gone for good, and none whose disk is only not mounted', async () => {
    const cli = new FsbackupCli(disks.directory);
    const storage = await disks.filesystem({ fstype: 'xfs' });
    const source = await disks.filesystem({ fstype: 'ext4', on: storage });
    const target = path.join(disks.directory, 'backups');
    await mkdir(target);
    await writeFile(path.join(source.mountpoint, 'file'), 'content');
    const uuid = await must('blkid', '--probe', '-s', 'UUID', '-o', 'value', storage.device);

    const started = cli.start('run', '--job', 'srv', '--source', source.mountpoint, '--to', target);
    await cli.journalled('snapshot', started);
    started.kill('SIGKILL');
    await started.ended();
    const entries = await cli.journalEntries();
    const entry = entries.find((name) => name.endsWith('-snapshot.json')) ?? '';
    const runId = /^(.+)-\d+-snapshot\.json$/.exec(entry)?.[1] ?? '';
    for (const shown of (await disks.unmade()).mountpoints.toReversed()) await must('umount', shown);
    await must('umount', source.mountpoint);
    await must('losetup', '--detach', source.device);
    await must('umount', storage.mountpoint);

    const forget = async (run: string): Promise<{ exitCode: number | undefined; report: RecoverReport }> => {
      const { exitCode, stdout } = await cli.run('recover', '--forget', run, '--json');
      return { exitCode, report: JSON.parse(stdout) as RecoverReport };
    };
    const told = await cli.run('recover');
    expect([told.exitCode, told.stdout]).toEqual([
      60,
      expect.stringContaining(`If that is gone for good: fsbackup recover --forget ${runId}`),
    ]);
    const unknown = await cli.run('recover', '--forget', 'another');
    expect([unknown.exitCode, unknown.stderr]).toEqual([
      2,
      expect.stringContaining('nothing is held of a run another'),
    ]);
    // Attached, and not mounted.
    const refused = await forget(runId);
    expect(refused.exitCode).toBe(60);
    expect(refused.report).toMatchObject({ forgotten: [], failed: [{ kind: 'snapshot', runId }] });
    expect(refused.report.failed[0]?.message).toContain(`what it lies on is there: ${storage.device}`);
    expect(await cli.journalEntries()).toEqual([entry]);

    await must('losetup', '--detach', storage.device);
    await rm(storage.image);
    const { exitCode, report } = await forget(runId);
    expect(exitCode, JSON.stringify(report)).toBe(0);
    expect(report).toMatchObject({
      failed: [],
      forgotten: [{ kind: 'snapshot', job: 'srv', runId, left: expect.stringContaining(uuid) as unknown }],
    });
    expect(report.forgotten?.[0]?.left).toContain(`fsbackup-srv-${runId}-0.img`);
    expect(await cli.journalEntries()).toEqual([]);
    const nothing = await cli.run('recover');
    expect([nothing.exitCode, nothing.stdout]).toEqual([0, 'Nothing to recover.\n']);
  });
});

describeNeeding(['root', 'loop', 'ext4', 'btrfs', 'program:tar'], 'a target that is away', () => {
  const disks = throwawayDisks(afterAll);

  it('is not taken for one without the incomplete backup, which is removed once it is there, or forgotten', async () => {
    const cli = new FsbackupCli(disks.directory);
    const source = await disks.filesystem({ fstype: 'btrfs', sizeMiB: 256 });
    const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 128 });
    const target = path.join(disk.mountpoint, 'backups');
    await mkdir(target);
    await writeFile(path.join(source.mountpoint, 'file'), randomBytes(32 * 1024 * 1024));
    const killed = async (): Promise<string> => {
      const to = ['--to', target, '--engine', 'tar'];
      const started = cli.start('run', '--job', 'srv', '--source', source.mountpoint, ...to);
      await cli.journalled('backup', started);
      started.kill('SIGKILL');
      await started.ended();
      await must('umount', '--lazy', disk.mountpoint);
      return (await readdir(path.join(disks.directory, 'state', 'journal'))).join();
    };

    expect(await killed()).toContain('-backup.json');
    const away = await cli.recover();
    expect(away.exitCode, away.stderr).toBe(60);
    expect(away.value.failed).toMatchObject([
      { kind: 'backup', message: expect.stringContaining(`, which is not at ${target} now`) as unknown },
    ]);
    expect(away.value.failed[0]?.message).toContain('recover --forget ');
    await must('mount', disk.device, disk.mountpoint);
    const there = await cli.recover();
    expect([there.exitCode, there.value.released]).toMatchObject([0, [{ kind: 'backup' }]]);
    expect(await readdir(target, { recursive: true })).not.toContain('data');
    expect(
      (await readdir(path.join(target, 'srv')).catch(() => [])).filter((one) => /^\d/.test(one)),
    ).toEqual([]);

    await killed();
    const [failed] = (await cli.recover()).value.failed;
    const forget = ['recover', '--forget', failed?.runId ?? '', '--json'];
    const refused = await cli.run(...forget);
    expect([refused.exitCode, refused.stdout]).toEqual([60, expect.stringContaining(disk.device)]);
    await must('losetup', '--detach', disk.device);
    await must('wipefs', '--quiet', '--all', disk.image);
    const forgotten = await cli.run(...forget);
    expect(forgotten.exitCode, forgotten.stdout).toBe(0);
    expect(await cli.journalEntries()).toEqual([]);
  });
});
