import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import process from 'node:process';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { probeFrozen } from '../../src/system/native.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';
import { chaosTools, type ChaosTools } from './tools.js';

/**
 * A reset has the watchdog prove the hold by a FIFREEZE of its own. That comes so late here that the deadline has passed, and the
 * second has thawed: it freezes anew what is on record as thawed.
 */
describeNeeding(['root', 'loop', 'ext4', 'program:cc'], 'a probe that outlives what it is a proof of', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let tools: ChaosTools;
  let harness: FreezeHarness;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    tools = await chaosTools();
    harness = new FreezeHarness(`${disks.directory}/state`);
    await harness.fsbackup('status');
  });
  afterEach(async () => {
    await harness.dispose();
    // Not frozen, unless the test failed.
    await must('fsfreeze', '--unfreeze', disk.mountpoint).catch(() => undefined);
  });
  afterAll(async () => {
    await tools.remove();
  });

  async function isFrozen(): Promise<boolean> {
    const fd = openSync(disk.mountpoint, 'r');
    try {
      return await probeFrozen(fd);
    } finally {
      closeSync(fd);
    }
  }

  it.each([
    ['whose watchdog dies in it', 'guard.probing=delay:3000,guard.probed=kill'],
    [
      'whose watchdog is killed by the second, since it does not come to its end',
      'guard.probing=delay:3000,guard.probed=delay:6000',
    ],
    ['whose watchdog comes to its end', 'guard.probing=delay:3000'],
  ])('is undone: of one %s', async (_, fault) => {
    const freezing = harness.start(
      process.execPath,
      [tools.faultCli, 'freeze', '--timeout', '2', disk.mountpoint],
      { FSBACKUP_FAULT: fault },
    );
    expect((await once(freezing, 'close'))[0]).toBe(0);
    const { watchdog, second } = await harness.held(disk.mountpoint);
    const reset = await harness.fsbackup('reset', disk.mountpoint);
    expect(reset.exitCode, reset.stderr).toBe(21);
    await eventually('the guards to end', () => [watchdog, second].every((pid) => !isGuard(pid)));
    expect(await isFrozen()).toBe(false);
    const { frozen, lost } = await harness.status();
    expect(frozen).toEqual([]);
    expect(lost).toMatchObject([{ mountpoint: disk.mountpoint, reason: 'timeout' }]);
  });
});
