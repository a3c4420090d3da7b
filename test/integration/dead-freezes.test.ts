import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { FreezeHarness, isFrozen } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** Command and both guards were killed in one instant: nobody thaws by itself, and what comes next has to. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'what is frozen and guarded by nobody', () => {
  const disks = throwawayDisks(afterAll);
  let harness: FreezeHarness;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;

  beforeAll(async () => {
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    for (const { mountpoint } of [lower, upper])
      await must('fsfreeze', '--unfreeze', mountpoint).catch(() => undefined);
    await harness.dispose();
  });

  // Records are never removed, and are listed in the order in which they were made, or against it.
  it.each([
    ['lower', () => [lower, upper]],
    ['upper', () => [upper, lower]],
  ] as const)(
    'is thawed by recover, one on the other, when the first record of the boot was that of the %s',
    async (name, order) => {
      harness = new FreezeHarness(`${disks.directory}/${name}-first`);
      for (const { mountpoint } of order()) {
        await harness.fsbackup('freeze', mountpoint);
        await harness.fsbackup('thaw', mountpoint);
      }
      await harness.abandon(upper.mountpoint, lower.mountpoint);
      const { exitCode, stdout, stderr } = await harness.fsbackup('recover');
      expect(exitCode, stderr).toBe(0);
      expect(stdout).toContain(upper.mountpoint);
      expect(stdout).toContain(lower.mountpoint);
      expect([await isFrozen(upper), await isFrozen(lower)]).toEqual([false, false]);
    },
  );

  it('is thawed before it is frozen anew, and was lost', async () => {
    await harness.abandon(upper.mountpoint, lower.mountpoint);
    const again = await harness.fsbackup('freeze', '--timeout', '60', lower.mountpoint);
    expect(again.exitCode, again.stderr).toBe(0);
    await harness.held(lower.mountpoint);
    // It may mean that which was lost: nobody asked for it.
    expect((await harness.fsbackup('thaw', lower.mountpoint)).exitCode).toBe(21);
    expect(await isFrozen(lower)).toBe(false);
    // The other one of the set is on record still.
    expect((await harness.status()).frozen).toMatchObject([{ mountpoint: upper.mountpoint, guards: 'dead' }]);
    expect((await harness.fsbackup('recover')).exitCode).toBe(0);
    expect(await isFrozen(upper)).toBe(false);
    expect((await harness.fsbackup('thaw', upper.mountpoint)).exitCode).toBe(21);
  });

  it('stays on record while it is not mounted, and shows itself frozen when it is again', async () => {
    await harness.abandon(upper.mountpoint);
    await must('umount', upper.mountpoint);
    const without = await harness.fsbackup('recover');
    expect(without.exitCode, without.stderr).toBe(22);
    expect(without.stdout + without.stderr).toContain('mount it again');
    await must('mount', upper.device, upper.mountpoint);
    const recovered = await harness.fsbackup('recover');
    expect(recovered.exitCode, recovered.stderr).toBe(0);
    expect(recovered.stdout).toContain(upper.mountpoint);
    expect(await isFrozen(upper)).toBe(false);
  });

  it('is gone with its device', async () => {
    const away = await disks.filesystem({ fstype: 'ext4' });
    await harness.abandon(away.mountpoint);
    await must('fsfreeze', '--unfreeze', away.mountpoint);
    await must('umount', away.mountpoint);
    const recovered = await harness.fsbackup('recover');
    expect(recovered.exitCode, recovered.stderr).toBe(0);
    expect((await harness.status()).frozen).toEqual([]);
  });
});
