import { existsSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { readMounts } from '../../src/system/mountinfo.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, ThrowawayDisks, throwawayDisks } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs'], 'throwaway filesystems', () => {
  it.each(['ext4', 'xfs', 'btrfs'] as const)('makes a writable %s', async (fstype) => {
    const disks = throwawayDisks(onTestFinished);
    const made = await disks.filesystem({ fstype });
    await must('touch', `${made.mountpoint}/file`);
    expect(await must('findmnt', '-no', 'FSTYPE', made.mountpoint)).toBe(fstype);
    expect(await must('losetup', '-nO', 'BACK-FILE', made.device)).toBe(made.image);
  });

  it('undoes a frozen stack and what others mounted in it', async () => {
    const disks = new ThrowawayDisks();
    onTestFinished(() => disks.dispose());
    const { directory } = disks;
    const lower = await disks.filesystem({ fstype: 'xfs' });
    const upper = await disks.filesystem({ fstype: 'ext4', on: lower });
    const foreign = `${directory}/foreign`;
    await must('mkdir', foreign);
    await must('mount', '--bind', upper.mountpoint, foreign);
    await must('fsfreeze', '--freeze', upper.mountpoint);
    await must('fsfreeze', '--freeze', lower.mountpoint);
    expect(await disks.leftovers()).toEqual({ mountpoints: [foreign], loopDevices: [] });

    await disks.dispose();

    expect(existsSync(directory)).toBe(false);
    expect((await readMounts()).filter((mount) => mount.mountpoint.startsWith(directory))).toEqual([]);
    expect(await must('losetup', '--list', '--noheadings', '--output', 'BACK-FILE')).not.toContain(directory);
  });
});
