import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, FreezeHarness, isFrozen } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** Two scripts that know nothing of each other freeze one filesystem: neither takes the other's freeze for its own. */
describeNeeding(['root', 'loop', 'ext4'], 'a freeze by hand', () => {
  const disks = throwawayDisks(afterAll);
  let harness: FreezeHarness;
  let disk: ThrowawayFilesystem;
  let count = 0;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
  });
  beforeEach(() => {
    count += 1;
    harness = new FreezeHarness(`${disks.directory}/state-${count}`);
  });
  afterEach(async () => {
    await harness.fsbackup('thaw', '--all');
    await harness.dispose();
  });

  async function freeze(timeout = '60'): Promise<string> {
    const { exitCode, stdout, stderr } = await harness.fsbackup(
      'freeze',
      '--json',
      '--timeout',
      timeout,
      disk.mountpoint,
    );
    expect(exitCode, stderr).toBe(0);
    return (JSON.parse(stdout) as { freezeId: string }).freezeId;
  }

  /** Frozen, and lost since no reset came. */
  async function lose(): Promise<string> {
    const id = await freeze('2');
    await eventually('the dead-man', async () => (await harness.status()).lost.length > 0);
    return id;
  }

  async function exitCodeOf(...args: string[]): Promise<number | undefined> {
    return (await harness.fsbackup(...args)).exitCode;
  }

  describe('that is named by its id', () => {
    it('is thawed and reset, and told to whoever asks', async () => {
      const id = await freeze();
      expect((await harness.status()).frozen).toMatchObject([{ freezeId: id }]);
      expect(await exitCodeOf('reset', '--freeze', id, disk.mountpoint)).toBe(0);
      expect(await exitCodeOf('thaw', '--freeze', id, disk.mountpoint)).toBe(0);
      expect(await exitCodeOf('thaw', '--freeze', id, disk.mountpoint)).toBe(20);
    });

    it('is 21 once it was lost and another one is held, which stays', async () => {
      const first = await lose();
      const second = await freeze();
      expect(second).not.toBe(first);
      expect(await exitCodeOf('reset', '--freeze', first, disk.mountpoint)).toBe(21);
      expect(await exitCodeOf('thaw', '--freeze', first, disk.mountpoint)).toBe(21);
      expect(await isFrozen(disk)).toBe(true);
      expect(await exitCodeOf('reset', '--freeze', second, disk.mountpoint)).toBe(0);
      expect(await exitCodeOf('thaw', '--freeze', second, disk.mountpoint)).toBe(0);
      // What is known no more is not called good either.
      expect(await exitCodeOf('thaw', '--freeze', first, disk.mountpoint)).toBe(21);
    });

    it.each(['', 'x', '0123456'])('is refused where the id is none: "%s"', async (id) => {
      const { exitCode, stderr } = await harness.fsbackup('thaw', '--freeze', id, disk.mountpoint);
      expect(exitCode).toBe(2);
      expect(stderr).toContain('not the id of a freeze');
    });
  });

  describe('that was lost and not asked for', () => {
    it('makes 21 of the thaw of the next one, and of no other', async () => {
      await lose();
      await freeze();
      expect((await harness.status()).lost).toHaveLength(1);
      expect(await exitCodeOf('reset', disk.mountpoint)).toBe(21);
      expect(await isFrozen(disk)).toBe(true);
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(21);
      expect(await isFrozen(disk)).toBe(false);
      expect((await harness.status()).lost).toEqual([]);
      await freeze();
      expect(await exitCodeOf('reset', disk.mountpoint)).toBe(0);
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(0);
    });

    it('makes none of it where it was asked for before', async () => {
      await lose();
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(21);
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(21);
      await freeze();
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(0);
    });

    it('is told as lost after a command has held the filesystem, and while it does: that one is left alone', async () => {
      await lose();
      const file = `${disks.directory}/go-on-${count}`;
      const holding = harness.startFsbackup(
        'freeze',
        disk.mountpoint,
        '--',
        'sh',
        '-c',
        `until [ -e ${file} ]; do sleep 0.05; done`,
      );
      await harness.held(disk.mountpoint);
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(21);
      expect(await isFrozen(disk)).toBe(true);
      await must('touch', file);
      await eventually('the command to end', () => holding.exitCode !== null);
      expect(holding.exitCode).toBe(0);

      await lose();
      expect(await exitCodeOf('freeze', disk.mountpoint, '--', 'true')).toBe(0);
      expect((await harness.status()).lost).toMatchObject([{ reason: 'timeout' }]);
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(21);
      expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(20);
    });
  });

  it('is found by the name that it was made by, when that mount is gone, or another lies over it', async () => {
    await freeze();
    await must('mount', '-t', 'tmpfs', 'none', disk.mountpoint);
    try {
      expect(await exitCodeOf('reset', disk.mountpoint)).toBe(0);
    } finally {
      await must('umount', disk.mountpoint);
    }
    await must('umount', '--lazy', disk.mountpoint);
    expect(await exitCodeOf('thaw', disk.mountpoint)).toBe(0);
    await eventually('the device to be free', async () => {
      await must('mount', disk.device, disk.mountpoint);
      return true;
    });
    expect(await isFrozen(disk)).toBe(false);
  });
});
