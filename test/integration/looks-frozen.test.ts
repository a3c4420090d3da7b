import { afterAll, expect, it } from 'vitest';
import { looksFrozen } from '../../src/system/looks-frozen.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'whether a filesystem looks frozen', () => {
  const disks = throwawayDisks(afterAll);

  it.each(['ext4', 'xfs'] as const)('shows on %s while it is, and no longer', async (fstype) => {
    const filesystem = await disks.filesystem({ fstype });
    for (let round = 0; round < 2; round += 1) {
      expect(await looksFrozen(filesystem)).toBe(false);
      await must('fsfreeze', '--freeze', filesystem.mountpoint);
      try {
        expect(await looksFrozen(filesystem)).toBe(true);
      } finally {
        await must('fsfreeze', '--unfreeze', filesystem.mountpoint);
      }
    }
    expect(await looksFrozen(filesystem)).toBe(false);
  });

  it('is not said of an ext4 without a journal, of another filesystem, or of none', async () => {
    const plain = await disks.filesystem({ fstype: 'ext4', mkfsArguments: ['-O', '^has_journal'] });
    expect(await looksFrozen(plain)).toBeUndefined();
    expect(await looksFrozen({ ...plain, fstype: 'btrfs' })).toBeUndefined();
    expect(await looksFrozen({ ...plain, fstype: 'xfs' })).toBeUndefined();
    expect(await looksFrozen({ ...plain, device: '/dev/null' })).toBeUndefined();
    expect(await looksFrozen({ ...plain, device: '/dev/nothing' })).toBeUndefined();
  });

  it('may be said of one that is read-only, which nothing is written to', async () => {
    const { mountpoint, ...filesystem } = await disks.filesystem({ fstype: 'ext4' });
    await must('mount', '-o', 'remount,ro', mountpoint);
    expect(await looksFrozen({ ...filesystem, mountpoint })).toBe(true);
  });
});
