import process from 'node:process';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness, isFrozen, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';
import { chaosTools, type ChaosTools } from './tools.js';

/** A bound against hanging for ever. */
const LIMIT_MS = 60_000;

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

  it.each([
    ['whose watchdog dies in it', 'guard.probing=delay:5500,guard.probed=kill'],
    [
      'whose watchdog is killed by the second, since it does not come to its end',
      'guard.probing=delay:5500,guard.probed=delay:6000',
    ],
    ['whose watchdog comes to its end', 'guard.probing=delay:5500'],
  ])('is undone: of one %s', async (_, fault) => {
    const frozenBy = await runCommand(
      [process.execPath, tools.faultCli, 'freeze', '--timeout', '5', '--json', disk.mountpoint],
      { env: { ...harness.environment, FSBACKUP_FAULT: fault }, cwd: '/', timeoutMs: LIMIT_MS },
    );
    expect(frozenBy.exitCode, frozenBy.stderr).toBe(0);
    const { watchdogPids } = JSON.parse(frozenBy.stdout) as { watchdogPids: number[] };
    const reset = await harness.fsbackup('reset', disk.mountpoint);
    expect(reset.exitCode, reset.stderr).toBe(21);
    await eventually('the guards to end', () => !watchdogPids.some(isGuard));
    expect(await isFrozen(disk)).toBe(false);
    const { frozen, lost } = await harness.status();
    expect(frozen).toEqual([]);
    // Those of the tests before are told, too, since nobody has asked for them.
    expect(lost.at(-1)).toMatchObject({ mountpoint: disk.mountpoint, reason: 'timeout' });
  });

  it('is undone by the command whose guards are both dead', async () => {
    // Its heartbeat is what proves the hold here: after five seconds, so that the freeze comes three after the end.
    const holding = harness.start(
      process.execPath,
      [tools.faultCli, 'freeze', '--timeout', '10', disk.mountpoint, '--', 'sleep', '15'],
      { FSBACKUP_FAULT: 'guard.probing=delay:8000,guard.probed=kill' },
    );
    const { second } = await harness.held(disk.mountpoint);
    await eventually('the deadline', async () => (await harness.status()).lost.length > 0);
    process.kill(second, 'SIGSTOP');
    expect(await ended(holding)).toBe(21);
    expect(isGuard(second)).toBe(false);
    expect(await isFrozen(disk)).toBe(false);
  });
});
