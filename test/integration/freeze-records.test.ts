import { closeSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { lockRecord, readBootId, writeRecord } from '../../src/freeze/freeze-record.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, FreezeHarness, isFrozen } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** What is on record of freezes, and what comes in its way. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the records of freezes', () => {
  const disks = throwawayDisks(afterAll);
  let harness: FreezeHarness;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let count = 0;

  beforeAll(async () => {
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    count += 1;
    harness = new FreezeHarness(`${disks.directory}/state-${count}`);
  });
  afterEach(async () => {
    await harness.fsbackup('thaw', '--all');
    await harness.dispose();
  });

  async function freeze(...mountpoints: string[]): Promise<{ watchdog: number; second: number }> {
    const { exitCode, stderr } = await harness.fsbackup('freeze', '--timeout', '60', ...mountpoints);
    expect(exitCode, stderr).toBe(0);
    return await harness.held(mountpoints[0] ?? '');
  }

  it('are found beside one that cannot be read', async () => {
    await freeze(upper.mountpoint);
    mkdirSync(`${harness.environment['FSBACKUP_RUN_DIR']}/superblocks/9:9`);
    expect((await harness.status()).frozen).toMatchObject([{ mountpoint: upper.mountpoint }]);
    const thawed = await harness.fsbackup('thaw', upper.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    const recovered = await harness.fsbackup('recover');
    expect(recovered.stdout + recovered.stderr).toContain('superblocks/9:9');
    expect(recovered.exitCode).toBe(22);
  });

  it('are whole, or nothing is frozen', async () => {
    const directory = `${disks.directory}/full`;
    mkdirSync(directory);
    await must('mount', '-t', 'tmpfs', '-o', 'size=32k,mode=0700', 'none', directory);
    const before = process.env['FSBACKUP_RUN_DIR'];
    process.env['FSBACKUP_RUN_DIR'] = directory;
    try {
      const { mountpoint, majorMinor, device, fstype } = upper;
      const fd = await lockRecord({ mountpoint, majorMinor, device, fstype });
      try {
        expect(() => writeFileSync(`${directory}/fills`, 'x'.repeat(64 * 1024))).toThrow('ENOSPC');
        const body = {
          version: 1,
          mountpoint,
          majorMinor,
          device,
          fstype,
          bootId: readBootId(),
          since: new Date().toISOString(),
          timeoutSeconds: 10,
          maxHoldSeconds: 60,
          slot: 0,
          controlPath: '/nowhere',
          detached: false,
          owner: { pid: 1, command: 'x'.repeat(20_000) },
          watchdogPids: [],
        } as const;
        expect(() => writeRecord(fd, body)).toThrow('cannot be put on record');
      } finally {
        closeSync(fd);
      }
    } finally {
      if (before === undefined) delete process.env['FSBACKUP_RUN_DIR'];
      else process.env['FSBACKUP_RUN_DIR'] = before;
      await must('umount', directory);
    }
  });

  it('are in a directory whose name leaves room for that of a socket, or nothing is frozen', async () => {
    const far = new FreezeHarness(`${disks.directory}/${'x'.repeat(100)}`);
    const { exitCode, stderr } = await far.fsbackup('freeze', upper.mountpoint);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('FSBACKUP_RUN_DIR');
    expect(await isFrozen(upper)).toBe(false);
  });

  it('hold no more of a command line than whoever reads them needs', async () => {
    const held = harness.startFsbackup(
      'freeze',
      upper.mountpoint,
      '--',
      'sh',
      '-c',
      `sleep 60 # ${'x'.repeat(9000)}`,
    );
    await harness.held(upper.mountpoint);
    const record = `${harness.environment['FSBACKUP_RUN_DIR']}/superblocks/${upper.majorMinor}`;
    expect(readFileSync(record, 'utf8').length).toBeLessThan(4096);
    held.kill('SIGTERM');
    await eventually('it to end', () => held.exitCode !== null);
  });

  it('of what is thawed together with others tell why it cannot be frozen yet', async () => {
    await freeze(upper.mountpoint, lower.mountpoint);
    expect((await harness.fsbackup('thaw', lower.mountpoint)).exitCode).toBe(0);
    const again = await harness.fsbackup('freeze', lower.mountpoint);
    expect(again.exitCode).toBe(11);
    expect(again.stderr).toContain('frozen together with others');
  });

  it('lead to a watchdog that is stopped, and that many have asked', async () => {
    const { watchdog } = await freeze(upper.mountpoint);
    process.kill(watchdog, 'SIGSTOP');
    for (let asked = 0; asked < 12; asked += 1) await harness.status();
    expect((await harness.fsbackup('reset', upper.mountpoint)).exitCode).toBe(21);
    const thawed = await harness.fsbackup('thaw', upper.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    expect(await isFrozen(upper)).toBe(false);
  });

  it('of a device are nothing to another disk in it', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    await harness.abandon(disk.mountpoint);
    await must('fsfreeze', '--unfreeze', disk.mountpoint);
    await must('umount', disk.mountpoint);
    await must('losetup', '--detach', disk.device);
    await must('losetup', disk.device, disk.image);
    await must('mount', disk.device, disk.mountpoint);
    await must('fsfreeze', '--freeze', disk.mountpoint);
    try {
      expect((await harness.fsbackup('recover')).exitCode).toBe(0);
      expect(await isFrozen(disk)).toBe(true);
    } finally {
      await must('fsfreeze', '--unfreeze', disk.mountpoint);
    }
  });

  it('end with a thaw by force: what somebody else freezes later is left alone', async () => {
    await harness.abandon(upper.mountpoint);
    expect((await harness.fsbackup('thaw', '--force', upper.mountpoint)).exitCode).toBe(0);
    await must('fsfreeze', '--freeze', upper.mountpoint);
    try {
      expect((await harness.fsbackup('recover')).exitCode).toBe(0);
      expect(await isFrozen(upper)).toBe(true);
    } finally {
      await must('fsfreeze', '--unfreeze', upper.mountpoint);
    }
  });

  it('are not needed for a thaw by force, in whatever order', async () => {
    await must('fsfreeze', '--freeze', upper.mountpoint);
    await must('fsfreeze', '--freeze', lower.mountpoint);
    const thawed = await harness.fsbackup('thaw', '--force', upper.mountpoint, lower.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    expect([await isFrozen(upper), await isFrozen(lower)]).toEqual([false, false]);
  });
});
